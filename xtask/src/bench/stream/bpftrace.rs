//! bpftrace in the lab's domains, on the hooks that tracer uses there.
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Route;
use crate::bench::observer::Printed;
use crate::lab::Session;
use crate::signal;

const PACKETS: &str = include_str!("../../../bench/packets.bt");
const NETFRONT: &str = include_str!("../../../bench/netfront.bt");
const NETBACK: &str = include_str!("../../../bench/netback.bt");

/// On an emulated CPU its compiler, and attaching after that, take most of a minute.
const START_LIMIT: Duration = Duration::from_secs(300);
/// It detaches one probe after the other, and waits for all CPUs each time.
const STOP_LIMIT: Duration = Duration::from_secs(600);

const START: &str = r#"cd /run || exit
cat > bench.bt <<'SCRIPT'
@SCRIPT@
SCRIPT
: > bench.out
setsid bpftrace -B line bench.bt > bench.out 2>&1 < /dev/null &
echo $! > bench.pid"#;

/// BEGIN's line comes out once everything is attached: before that nobody reads its events.
const WAIT: &str = r#"cd /run || exit
until grep -qx ready bench.out; do
  kill -0 $(cat bench.pid) 2>/dev/null || { cat bench.out >&2; exit 1; }
  sleep 0.5
done"#;

/// A zombie has no `exe`: it need not have been waited for.
const STOP: &str = r#"cd /run || exit
pid=$(cat bench.pid) || exit
readlink -q /proc/$pid/exe >/dev/null || { echo "bpftrace had ended before it was told to:"; tail -n 5 bench.out; exit 1; } >&2
kill -INT $pid
while readlink -q /proc/$pid/exe >/dev/null; do sleep 0.2; done
cat bench.out
rm -f bench.*"#;

/// bpftrace while it runs; ended when dropped.
pub(super) struct Attached<'a> {
    session: &'a Session,
    domains: Vec<&'static str>,
}

impl<'a> Attached<'a> {
    /// Starts it in each domain in which tracer traces this route.
    ///
    /// # Errors
    /// When it does not attach, with what it said.
    pub(super) fn start(session: &'a Session, route: Route, is_virtual: bool) -> Result<Self> {
        let mut attached = Self {
            session,
            domains: Vec::new(),
        };
        // All begin before any is waited for: each domain has a CPU of its own.
        for (domain, script) in scripts(route, is_virtual) {
            attached.domains.push(domain);
            session.output(domain, &START.replace("@SCRIPT@", &script), START_LIMIT)?;
        }
        for domain in &attached.domains {
            session
                .output(domain, WAIT, START_LIMIT)
                .with_context(|| format!("bpftrace did not attach in {domain}"))?;
        }
        Ok(attached)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it had ended before, or has seen nothing: then nothing was measured.
    pub(super) fn finish(mut self) -> Result<()> {
        while let Some(domain) = self.domains.pop() {
            let printed = self
                .session
                .output(domain, STOP, STOP_LIMIT)
                .with_context(|| format!("bpftrace in {domain} cannot be ended"))?;
            let printed = Printed::of(printed);
            if printed.counted().unwrap_or(0) == 0 {
                bail!("bpftrace in {domain} has seen no packet");
            }
            if printed.lost() > 0 {
                eprintln!("bpftrace in {domain} lost {} events", printed.lost());
            }
        }
        Ok(())
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        // Not ended in order: another error is on its way.
        for domain in self.domains.drain(..) {
            let _ = signal::despite(|| self.session.output(domain, STOP, STOP_LIMIT));
        }
    }
}

/// Where bpftrace runs, and what: as tracer, in Dom0 only if that passes the packets on.
fn scripts(route: Route, is_virtual: bool) -> Vec<(&'static str, String)> {
    let passes_on = route == Route::Vif;
    let traced = route.traced(is_virtual).iter();
    let traced = traced.filter(|domain| passes_on || **domain != "dom0");
    let script = |domain: &&'static str| {
        let card = match (passes_on, *domain) {
            (false, _) => "",
            (true, "dom0") => NETBACK,
            (true, _) => NETFRONT,
        };
        (*domain, [PACKETS, card].concat())
    };
    traced.map(script).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dom0_is_traced_only_where_it_passes_packets_on() {
        let domains = |route, is_virtual| {
            let scripts = scripts(route, is_virtual).into_iter();
            scripts.map(|(domain, _)| domain).collect::<Vec<_>>()
        };
        assert_eq!(domains(Route::Vif, false), ["dom0", "B"]);
        assert_eq!(domains(Route::Vif, true), ["dom0", "B", "A"]);
        assert_eq!(domains(Route::Passthrough, true), ["B"]);
    }

    #[test]
    fn no_script_has_the_word_that_ends_it_for_the_shell() {
        for (_, script) in scripts(Route::Vif, true) {
            assert!(script.lines().all(|line| line != "SCRIPT"));
            assert!(script.contains(r#"BEGIN { printf("ready\n"); }"#));
        }
    }
}
