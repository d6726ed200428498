//! Addresses of the kernel's variables, and names of its functions.

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

/// What a compiler adds to the name of a copy that stands for a function: made for constant arguments, with other
/// arguments (GCC), or told from a function of the same name by link-time optimisation (GCC, clang).
const OF_COPIES: [&str; 4] = ["constprop", "isra", "lto_priv", "llvm"];

/// Whether a symbol is a compiler's copy of a function: `NAME.constprop.0`, `NAME.isra.0.constprop.1`. What is only a
/// piece of one (`NAME.part.0`, `NAME.cold`) is none: it does not run whenever the function does.
#[must_use]
pub fn is_copy(symbol: &str, function: &str) -> bool {
    let Some(suffixes) = symbol.strip_prefix(function) else {
        return false;
    };
    let mut words = suffixes.split('.');
    if words.next() != Some("") {
        return false;
    }
    let words: Vec<&str> = words.collect();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    !words.is_empty()
        && words.chunks(2).all(|pair| match pair {
            [kind, number] => OF_COPIES.contains(kind) && is_number(number),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_told_from_pieces_and_from_other_functions() {
        for copy in [
            "f.constprop.0",
            "f.isra.0",
            "f.isra.0.constprop.12",
            "f.lto_priv.3",
            "f.llvm.1234",
        ] {
            assert!(is_copy(copy, "f"), "{copy}");
        }
        for other in [
            "f",
            "g.isra.0",
            "ff.isra.0",
            "f.cold",
            "f.part.0",
            "f.isra.0.cold",
            "f.constprop",
            "f.isra.x",
            "f.",
            "f..0",
            "",
        ] {
            assert!(!is_copy(other, "f"), "{other}");
        }
    }

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
