use std::{fs, path::Path};

use super::*;
use crate::load::{LoadKind, LoadSpec, Think, run};
use tracer_analysis::recording::load::LoadResult;

fn dd(target: &Path, operation: Operation, block_size: u64, count: u64) -> DdLoad {
    DdLoad {
        target: target.to_owned(),
        operation,
        block_size,
        count,
        offset: 0,
        direct: false,
        truncate: false,
        allow_device_write: false,
        think: None,
    }
}

fn go(load: DdLoad) -> Result<LoadResult> {
    run(&LoadSpec::new(LoadKind::Dd(load)))
}

/// What `count` blocks written by dd must look like.
fn expected(block_size: usize, count: u64) -> Vec<u8> {
    let mut block = vec![0; block_size];
    fill(&mut block);
    let blocks = (0..count).map(|n| {
        number(&mut block, n);
        block.clone()
    });
    blocks.collect::<Vec<_>>().concat()
}

#[test]
fn reads_every_byte_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    fs::write(&path, vec![7; 10 * 4096]).unwrap();
    let result = go(dd(&path, Operation::Read, 4096, 10)).unwrap();
    assert_eq!((result.operations, result.bytes), (10, 40_960));
    let latency = result.latency.unwrap();
    assert_eq!(latency.count, 10);
    assert!(latency.p50 <= latency.max && latency.mean_ns * 10.0 <= result.duration_ns as f64);
    assert_eq!(result.tids.len(), 1);
}

#[test]
fn waits_are_between_the_calls_and_in_no_latency() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    fs::write(&path, vec![7; 10 * 4096]).unwrap();
    let mut load = dd(&path, Operation::Read, 4096, 20);
    let think = Think {
        mean_ns: 2_000_000,
        sequence: 1,
    };
    load.think = Some(think);
    let result = go(load).unwrap();
    let mut waits = Waits::new(think);
    let waited: u64 = (0..19).map(|_| waits.draw_ns()).sum();
    assert!(waited > 10_000_000);
    assert_eq!(result.operations, 20);
    let latency = result.latency.unwrap();
    let reading = latency.mean_ns * 20.0;
    assert!(
        reading + waited as f64 <= result.duration_ns as f64,
        "{waited} ns, {result:?}"
    );
}

#[test]
fn wraps_round_at_the_end_and_keeps_the_offset() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    // Two and a half blocks after the offset: the half is never read.
    fs::write(&path, vec![7; 100 + 2560]).unwrap();
    let mut load = dd(&path, Operation::Read, 1024, 7);
    load.offset = 100;
    assert_eq!(go(load).unwrap().bytes, 7 * 1024);
    let error = go(dd(&path, Operation::Read, 4096, 1)).unwrap_err();
    assert!(error.to_string().contains("2660 bytes"), "{error}");
}

#[test]
fn direct_write_reads_back_the_same() {
    // Not below /tmp, which may be a tmpfs; the build folder is on a disk.
    let exe = std::env::current_exe().unwrap();
    let dir = tempfile::tempdir_in(exe.parent().unwrap()).unwrap();
    let path = dir.path().join("data");
    let mut load = dd(&path, Operation::Write, 8192, 16);
    load.direct = true;
    let written = match go(load.clone()) {
        Err(LoadError::Io { advice, .. }) if advice.contains("direct I/O") => {
            eprintln!("SKIPPED: {} knows no direct I/O", dir.path().display());
            return;
        }
        other => other.unwrap(),
    };
    assert_eq!(written.bytes, 16 * 8192);
    assert!(written.extra.contains_key("fsync_ns"));
    assert!(fs::read(&path).unwrap() == expected(8192, 16));
    load.operation = Operation::Read;
    assert_eq!(go(load.clone()).unwrap().operations, 16);
    load.block_size = 1000;
    let error = go(load).unwrap_err().to_string();
    assert!(error.contains("`direct`"), "{error}");
}

#[test]
fn keeps_or_truncates_an_existing_file_as_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    fs::write(&path, vec![7; 4096]).unwrap();
    let mut load = dd(&path, Operation::Write, 512, 2);
    go(load.clone()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 4096);
    load.truncate = true;
    go(load).unwrap();
    assert!(fs::read(&path).unwrap() == expected(512, 2));
}

#[test]
fn errors_say_what_to_do() {
    let text = |load| go(load).unwrap_err().to_string();
    let missing = text(dd(Path::new("/none/such"), Operation::Read, 512, 1));
    assert!(missing.contains("/none/such") && missing.contains("make the file"));
    let folder = text(dd(Path::new("/tmp"), Operation::Read, 512, 1));
    assert!(folder.contains("no file or block device"), "{folder}");
    let full = text(dd(Path::new("/dev/full"), Operation::Write, 512, 1));
    assert!(full.contains("the disk is full"), "{full}");
}

#[test]
fn refuses_to_write_to_a_device_unasked() {
    let devices = fs::read_dir("/dev").unwrap().flatten();
    let is_device = |e: &fs::DirEntry| e.file_type().is_ok_and(|kind| kind.is_block_device());
    let Some(device) = devices.into_iter().find(is_device) else {
        return eprintln!("SKIPPED: no block device here");
    };
    let error = go(dd(&device.path(), Operation::Write, 512, 1)).unwrap_err();
    assert!(matches!(error, LoadError::Refused(_)), "{error}");
}

/// A loop device over a temporary file, released at the end of the test.
struct Loop(String);

impl Loop {
    fn over(file: &Path) -> Option<Self> {
        let made = std::process::Command::new("losetup")
            .args(["--find", "--show"])
            .arg(file)
            .output();
        match made {
            Ok(made) if made.status.success() => Some(Self(
                String::from_utf8_lossy(&made.stdout).trim().to_owned(),
            )),
            other => {
                eprintln!("SKIPPED: no loop device: {other:?}");
                None
            }
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let release = ["--detach", &self.0];
        let _ = std::process::Command::new("losetup").args(release).output();
    }
}

#[test]
fn writes_a_device_only_as_far_as_it_goes() {
    let backing = tempfile::NamedTempFile::new().unwrap();
    backing.as_file().set_len(1 << 20).unwrap();
    let Some(device) = Loop::over(backing.path()) else {
        return;
    };
    let path = Path::new(&device.0);
    let mut load = dd(path, Operation::Write, 256 << 10, 6);
    assert!(matches!(go(load.clone()), Err(LoadError::Refused(_))));
    load.allow_device_write = true;
    load.direct = true;
    assert_eq!(go(load.clone()).unwrap().bytes, 6 * (256 << 10));
    // Blocks 4 and 5 came after the end, and so lie over 0 and 1.
    let all = expected(256 << 10, 6);
    let (four, two) = all.split_at(1 << 20);
    let wrapped = [two, &four[two.len()..]].concat();
    assert!(fs::read(path).unwrap() == wrapped);
    load.block_size = 1000;
    let error = go(load.clone()).unwrap_err().to_string();
    assert!(error.contains("logical block of"), "{error}");
    // Somebody else holds the device.
    let holder = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_EXCL)
        .open(path)
        .unwrap();
    load.block_size = 4096;
    let error = go(load).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    drop(holder);
}
