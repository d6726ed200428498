//! The load that does nothing: what remains is the background.

use super::{Context, IdleLoad, Outcome, Result, monotonic_ns, place};

pub(crate) fn run(load: &IdleLoad, context: &Context<'_>) -> Result<Outcome> {
    place::pin(context.cpus)?;
    let start_ns = monotonic_ns();
    context
        .stop
        .sleep_until(load.duration_ms.map(|ms| start_ns + ms * 1_000_000));
    Ok(Outcome {
        start_ns,
        end_ns: monotonic_ns(),
        tids: vec![place::tid()],
        ..Outcome::default()
    })
}

#[cfg(test)]
mod tests {
    use crate::load::{IdleLoad, LoadKind, LoadSpec, run};

    #[test]
    fn idles_for_its_duration() {
        let result = run(&LoadSpec::new(LoadKind::Idle(IdleLoad {
            duration_ms: Some(60),
        })))
        .unwrap();
        assert!((60_000_000..1_000_000_000).contains(&result.duration_ns));
        assert_eq!(
            (result.operations, result.bytes, result.latency),
            (0, 0, None)
        );
    }
}
