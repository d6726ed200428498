//! Scenarios in the lab: the tracer goes in, the run's directory and the report come back.
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::guests;
use super::instance::{Config, Lab};
use super::job::{Outputs, PassOn};
use super::machine::PEER_SOCKET;
use super::scenario::{self, Scenario};
use super::transfer::{self, WORK};
use crate::{shell, signal, workspace};

/// The peer host, as scenarios call it.
const PEER: &str = "peer";
/// How long a guest may take to get a tracer.
const INSTALL: Duration = Duration::from_secs(300);

/// A scenario, and in which domain it runs.
#[derive(Clone, Debug)]
pub(super) struct Request<'a> {
    /// A static `tracer`.
    pub(super) tracer: &'a Path,
    pub(super) scenario: &'a Path,
    /// `dom0`, `native`, `A` or `B`.
    pub(super) domain: &'a str,
    /// For `tracer run`.
    pub(super) args: &'a [String],
    /// The run's directory on this machine.
    pub(super) out: &'a Path,
}

/// Drops standard output: the report of one of many runs.
pub(super) struct Silent;

impl Outputs for Silent {
    fn stdout(&mut self, _bytes: &[u8]) {}

    fn stderr(&mut self, bytes: &[u8]) {
        PassOn.stderr(bytes);
    }
}

/// Runs it; returns the tracer's own exit code. A run that was interrupted is brought back, too.
pub(super) fn run(lab: &Lab, request: &Request<'_>, outputs: &mut dyn Outputs) -> Result<i32> {
    let Request {
        tracer,
        scenario,
        domain,
        args,
        out,
    } = request;
    if out.exists() {
        bail!("{} is there already; name another --out", out.display());
    }
    install(lab, domain, tracer)?;
    let wanted = Scenario::read(scenario, &scenario::changes(args))?;
    let mut _peer = None;
    if matches!(*domain, "dom0" | "native") {
        let agents = wanted.agents();
        let names = agents.iter().filter(|_| *domain == "dom0");
        for guest in names.filter_map(|name| guests::find(name)) {
            install(lab, guest.name, tracer)?;
        }
        if agents.iter().any(|name| name == PEER) {
            _peer = Some(Peer::start(lab, tracer)?);
        }
    }
    eprintln!("lab: running {} in {domain}", scenario.display());
    transfer::put(lab, domain, &[(*scenario, "scenario.toml")])?;
    let slower = slower_floods(&wanted);
    let args: Vec<String> = args.iter().chain(&slower).map(|arg| quoted(arg)).collect();
    let offer = if *domain == "dom0" {
        "/lab/offer-tracer /usr/local/bin/tracer && "
    } else {
        ""
    };
    let script = format!(
        "cd {WORK} && {offer}\
         exec tracer run scenario.toml --out out {}",
        args.join(" ")
    );
    let ended = lab.domain(domain).run(&script, None, outputs);
    if ended.is_err() && !signal::interrupted() {
        return ended;
    }
    let brought = signal::despite(|| {
        transfer::fetch(lab, domain, "out", out).and_then(|()| give_to_user(out))
    });
    match (&ended, brought) {
        (_, Ok(())) => eprintln!("lab: the run is in {}", out.display()),
        // A tracer that refused the scenario made no directory, and said why.
        (Ok(code), Err(_)) if *code == 3 => {}
        (_, Err(error)) => return Err(error.context("the run could not be brought back")),
    }
    ended
}

/// Arguments that slow down the floods that have no rate of their own; says so.
fn slower_floods(scenario: &Scenario) -> Vec<String> {
    let slower = scenario.slower_floods();
    for change in &slower {
        eprintln!(
            "lab: {change} packets a second, since a stream beside more does not get on here"
        );
    }
    slower
        .iter()
        .map(|change| format!("--set={change}"))
        .collect()
}

/// The tracer's agent on the peer host, while a scenario runs.
struct Peer(Child);

impl Peer {
    fn start(lab: &Lab, tracer: &Path) -> Result<Self> {
        let program = tracer.to_str().context("a path that is no text")?;
        let mut command = lab.namespace().command(program);
        command.args(["agent", "--socket"]);
        command.arg(lab.folder.join(PEER_SOCKET));
        let agent = command.stdin(Stdio::null()).spawn();
        agent
            .map(Self)
            .context("the agent of the peer host could not be started")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Gives a domain, and its agent, this tracer, unless it has it.
fn install(lab: &Lab, domain: &str, tracer: &Path) -> Result<()> {
    let sum = shell::output(shell::command("sha256sum").arg(tracer))?;
    let sum = sum.split_whitespace().next().unwrap_or_default();
    let has = format!(
        "echo '{sum}  /usr/local/bin/tracer' | sha256sum --check --status && echo same || true"
    );
    if lab.domain(domain).output(&has, INSTALL)?.trim() == "same" {
        return Ok(());
    }
    eprintln!("lab: bringing the tracer into {domain}");
    transfer::put(lab, domain, &[(tracer, "tracer")])?;
    // The one that runs is started again by what started it.
    let script = format!(
        "install -m 755 {WORK}/tracer /usr/local/bin/tracer && rm {WORK}/tracer; pkill -f '^/usr/local/bin/tracer agent' || true"
    );
    lab.domain(domain).output(&script, INSTALL).map(drop)
}

/// A folder that is not there yet: `runs/SCENARIO-DOMAIN-VERSIONS-N`.
pub(super) fn new_folder(scenario: &Path, domain: &str, config: &Config) -> PathBuf {
    let stem = scenario.file_stem().unwrap_or_default().to_string_lossy();
    let xen = if config.native {
        String::new()
    } else {
        format!("-xen{}", config.xen)
    };
    workspace::new_run(&format!("{stem}-{domain}{xen}-linux{}", config.kernels))
}

/// What root made for the user of sudo is the user's.
pub(super) fn give_to_user(folder: &Path) -> Result<()> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if !shell::is_root() {
        return Ok(());
    }
    let (Some(user), Some(group)) = (number("SUDO_UID"), number("SUDO_GID")) else {
        return Ok(());
    };
    give_tree(folder, user, group)
        .with_context(|| format!("{} could not be given to its user", folder.display()))?;
    if let Some(parent) = folder.parent().filter(|parent| parent.ends_with("runs")) {
        // It may belong to somebody else on purpose.
        let _ = lchown(parent, Some(user), Some(group));
    }
    Ok(())
}

fn give_tree(path: &Path, user: u32, group: u32) -> std::io::Result<()> {
    lchown(path, Some(user), Some(group))?;
    if path.is_dir() {
        for entry in path.read_dir()? {
            give_tree(&entry?.path(), user, group)?;
        }
    }
    Ok(())
}

/// One word for a shell.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The domain of this name, if the lab has it.
pub(super) fn require_domain(config: &Config, name: &str) -> Result<()> {
    let known = if config.native {
        name == "native"
    } else {
        name == "dom0" || guests::find(name).is_some()
    };
    if !known {
        let names = if config.native {
            "native".into()
        } else {
            let guests: Vec<&str> = guests::GUESTS.iter().map(|guest| guest.name).collect();
            format!("dom0, {}", guests.join(", "))
        };
        bail!("there is no domain {name}: this lab has {names}");
    }
    Ok(())
}

/// Files that a command of the lab needs, before minutes of work.
pub(super) fn require_scenario(scenario: &Path) -> Result<()> {
    if !scenario.is_file() {
        bail!(
            "there is no scenario file {}; see scenarios/",
            scenario.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::scenario::tests::flooded;
    use super::*;

    #[test]
    fn a_flood_is_slowed_unless_it_is_told_its_rate() {
        let slower = |args: &[&str]| {
            let floods = ["--profile=io", "--profile=more"];
            slower_floods(&flooded(&[&floods, args].concat()))
        };
        let [first, second] = [1, 2].map(|place| format!("--set=background.{place}.rate=3000"));
        assert_eq!(slower(&[]), [first.clone(), second.clone()]);
        assert_eq!(slower(&["--set", "background.2.rate=7"]), [first]);
        assert_eq!(slower(&["--set=background.1.rate=7"]), [second]);
    }

    #[test]
    fn a_word_stays_one_word_in_a_shell() {
        let word = "it's $HOME; \"x\"";
        let printed = shell::output(
            shell::command("sh").args(["-c", &format!("printf %s {}", quoted(word))]),
        );
        assert_eq!(printed.unwrap(), word);
    }
}
