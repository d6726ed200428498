//! The running kernel as one immutable value, built from a root path. It is asked what it has;
//! its version is only ever printed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tracer_common::member::Member;

use crate::platform::btf::{BtfError, Types};

/// Where a kernel tells its types.
const TYPES: &str = "sys/kernel/btf/vmlinux";

/// What a kernel offers to be traced by.
#[derive(Debug)]
pub struct Kernel {
    root: PathBuf,
    release: String,
    types: Types,
    modules: Vec<(&'static str, Types)>,
    available_functions: Option<String>,
    has_kprobes: bool,
}

impl Kernel {
    /// Reads the kernel under `root`: `/` for the running one, a fixture in tests.
    ///
    /// # Errors
    /// If its BTF cannot be read.
    pub fn from_root(root: &Path) -> Result<Self, BtfError> {
        let types = Types::from_file(&root.join(TYPES))?;
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();
        let available_functions = read("sys/kernel/tracing/available_filter_functions")
            .or_else(|| read("sys/kernel/debug/tracing/available_filter_functions"));
        let modules = Member::ALL
            .iter()
            .filter_map(|member| member.module())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter_map(|module| {
                let path = root.join("sys/kernel/btf").join(module);
                Some((module, types.of_module(&path).ok()?))
            })
            .collect();
        Ok(Self {
            modules,
            release: read("proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            types,
            available_functions,
            has_kprobes: root.join("sys/kernel/tracing/kprobe_events").exists()
                || root.join("sys/kernel/debug/kprobes").exists(),
            root: root.to_owned(),
        })
    }

    /// Whether a kernel under `root` tells its types, without the time that reading them takes.
    ///
    /// # Errors
    /// If there is no BTF, or it may not be read.
    pub fn check(root: &Path) -> Result<(), BtfError> {
        Types::check(&root.join(TYPES))
    }

    /// The release, for people to read.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Where this kernel's files are.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it runs in a domain of Xen.
    #[must_use]
    pub fn is_xen(&self) -> bool {
        let file = self.root.join("sys/hypervisor/type");
        fs::read_to_string(file).is_ok_and(|text| text.trim() == "xen")
    }

    /// The kernel's types.
    #[must_use]
    pub fn types(&self) -> &Types {
        &self.types
    }

    /// Byte offset of a member, by the types of the kernel or of its module. A driver that is built in
    /// has its types in the kernel's.
    ///
    /// # Errors
    /// If this kernel has no such member.
    pub fn offset_of(&self, member: Member) -> Result<u32, BtfError> {
        let loaded = member
            .module()
            .and_then(|module| self.modules.iter().find(|(name, _)| *name == module));
        let types = loaded.map_or(&self.types, |(_, types)| types);
        let found = types.offset_of(member.structure(), member.path());
        match (found, member.module()) {
            (Err(BtfError::NoStruct(_)), Some(module)) if loaded.is_none() => {
                Err(BtfError::NoModule(module.into()))
            }
            (found, _) => found,
        }
    }

    /// Whether a function can be attached to: it exists and ftrace may patch it. Without ftrace's
    /// list (tracefs not mounted) BTF alone answers.
    #[must_use]
    pub fn has_traceable_function(&self, name: &str) -> bool {
        self.types.has_function(name)
            && self.available_functions.as_ref().is_none_or(|list| {
                list.lines()
                    .any(|line| line.split_whitespace().next() == Some(name))
            })
    }

    /// Whether a kprobe can be put on a function, of the kernel or of a loaded module.
    #[must_use]
    pub fn has_probeable_function(&self, name: &str) -> bool {
        self.listed(name).is_some()
    }

    /// The module that has a function; `None` for the kernel's own, and for what is no function.
    #[must_use]
    pub fn module_of(&self, name: &str) -> Option<&str> {
        let module = self.listed(name)?.split_whitespace().nth(1)?;
        module.strip_prefix('[')?.strip_suffix(']')
    }

    /// The function's line in ftrace's list: `NAME` or `NAME [MODULE]`.
    fn listed(&self, name: &str) -> Option<&str> {
        let list = self.available_functions.as_deref()?;
        list.lines()
            .find(|line| line.split_whitespace().next() == Some(name))
    }

    /// Whether the kernel has kprobes.
    #[must_use]
    pub const fn has_kprobes(&self) -> bool {
        self.has_kprobes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::btf::tests::own;

    /// A root with these files, and a kernel whose types are those of tracer's own programs.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let own = own();
        let types = ("sys/kernel/btf/vmlinux", own.as_slice());
        let files = files.iter().map(|(path, text)| (*path, text.as_bytes()));
        for (path, bytes) in files.chain([types]) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        root
    }

    fn kernel(files: &[(&str, &str)]) -> Kernel {
        Kernel::from_root(root(files).path()).unwrap()
    }

    #[test]
    fn a_kernel_is_what_is_under_its_root() {
        let folder = root(&[
            ("proc/sys/kernel/osrelease", "6.1.0-test\n"),
            ("sys/kernel/tracing/kprobe_events", ""),
        ]);
        let kernel = Kernel::from_root(folder.path()).unwrap();
        assert_eq!(kernel.release(), "6.1.0-test");
        assert_eq!(kernel.root(), folder.path());
        assert!(kernel.has_kprobes());
        assert!(kernel.types().has_function("blk_issue"));
    }

    #[test]
    fn only_functions_that_ftrace_lists_are_traceable() {
        for tracefs in ["sys/kernel/tracing", "sys/kernel/debug/tracing"] {
            let path = format!("{tracefs}/available_filter_functions");
            let list = "blk_queue_more\nblk_issue [module]\nno_types_know_it\n";
            let kernel = kernel(&[(&path, list)]);
            assert!(kernel.has_traceable_function("blk_issue"));
            assert!(!kernel.has_traceable_function("blk_queue"), "a prefix");
            assert!(!kernel.has_traceable_function("no_types_know_it"));
        }
    }

    #[test]
    fn without_tracefs_the_types_alone_answer() {
        let kernel = kernel(&[]);
        assert!(kernel.has_traceable_function("blk_issue"));
        assert!(!kernel.has_traceable_function("no_types_know_it"));
        assert!(!kernel.has_kprobes());
        assert_eq!(kernel.release(), "");
    }

    #[test]
    fn without_types_the_error_names_file_and_option() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for error in [
            Kernel::from_root(root).unwrap_err(),
            Kernel::check(root).unwrap_err(),
        ] {
            let error = error.to_string();
            assert!(
                error.contains(TYPES) && error.contains("CONFIG_DEBUG_INFO_BTF=y"),
                "{error}"
            );
        }
    }
}
