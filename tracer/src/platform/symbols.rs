//! Addresses of the kernel's variables.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

/// Looks names up in `/proc/kallsyms` under a root; reading stops where all are found. None: the kernel
/// does not list it, or hides its addresses (`kernel.kptr_restrict`).
#[must_use]
pub fn addresses<const N: usize>(root: &Path, names: [&str; N]) -> [Option<u64>; N] {
    let mut found = [None; N];
    let Ok(file) = File::open(root.join("proc/kallsyms")) else {
        return found;
    };
    for line in BufReader::new(file).lines().map_while(Result::ok) {
        // `ADDRESS TYPE NAME`, then the module for what is one's.
        let mut fields = line.split_ascii_whitespace();
        let (Some(address), Some(_), Some(name)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if let Some(place) = names.iter().position(|wanted| *wanted == name) {
            let address = u64::from_str_radix(address, 16).ok();
            found[place] = found[place].or(address.filter(|address| *address != 0));
            if found.iter().all(Option::is_some) {
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_unless_they_are_hidden() {
        let root = tempfile::tempdir().unwrap();
        let listed = "0000000000012340 d xen_runstate\nffffffff82000000 D __per_cpu_offset\n\
            0000000000000000 t hidden\nffffffffc0000000 t of_module\t[module]\nnonsense\n";
        std::fs::create_dir(root.path().join("proc")).unwrap();
        std::fs::write(root.path().join("proc/kallsyms"), listed).unwrap();
        let names = ["__per_cpu_offset", "hidden", "xen_runstate", "missing"];
        assert_eq!(
            addresses(root.path(), names),
            [Some(0xffff_ffff_8200_0000), None, Some(0x12340), None]
        );
        assert_eq!(addresses(Path::new("/nowhere"), names), [None; 4]);
    }
}
