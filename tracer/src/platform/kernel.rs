//! The running kernel as one immutable value, built from a root path. It is asked what it has;
//! its version is only ever printed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    str::SplitWhitespace,
};

use tracer_common::member::{Layout, Member};

use crate::platform::{
    btf::{BtfError, Types},
    layout::fit,
    symbols::is_copy,
};

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

    /// Where a member is and how the programs are to read it, by the types of the kernel or of its module. A driver that
    /// is built in has its types in the kernel's.
    ///
    /// # Errors
    /// If this kernel has no such member, or one that the programs cannot hold.
    pub fn layout(&self, member: Member) -> Result<Layout, BtfError> {
        let found = self.types_for(member.module());
        let found = found.member(member.structure(), member.path());
        match (found, member.module()) {
            (Err(BtfError::NoStruct(_)), Some(module)) if self.module(module).is_none() => {
                Err(BtfError::NoModule(module.into()))
            }
            (found, _) => fit(member, found?),
        }
    }

    /// The types of a module if it has some, else the kernel's.
    fn types_for(&self, module: Option<&str>) -> &Types {
        module
            .and_then(|name| self.module(name))
            .unwrap_or(&self.types)
    }

    fn module(&self, name: &str) -> Option<&Types> {
        let mut modules = self.modules.iter();
        modules
            .find(|(module, _)| *module == name)
            .map(|(_, types)| types)
    }

    /// Arguments of a function of the kernel, or of a module whose types were read; `None`: no types know it.
    #[must_use]
    pub fn function_arguments(&self, name: &str) -> Option<usize> {
        let modules = self.modules.iter().map(|(_, types)| types);
        let mut all = modules.chain([&self.types]);
        all.find_map(|types| types.function_arguments(name))
    }

    /// Whether fentry can attach to a function: the kernel's types know it and ftrace may patch it. Without ftrace's list
    /// (tracefs not mounted) the types alone answer.
    #[must_use]
    pub fn has_traceable_function(&self, name: &str) -> bool {
        self.types.has_function(name)
            && (self.available_functions.is_none() || self.listed(name).is_some())
    }

    /// What a kprobe on a function can be put on: its name if the kernel or a loaded module has it, else the names of all
    /// copies that the compiler made of it.
    #[must_use]
    pub fn symbols_of<'a>(&'a self, function: &'a str) -> Vec<&'a str> {
        if self.listed(function).is_some() {
            return vec![function];
        }
        let names = self.functions().filter_map(|mut line| line.next());
        names.filter(|name| is_copy(name, function)).collect()
    }

    /// The module that has a function; `None` for the kernel's own, and for what is no function.
    #[must_use]
    pub fn module_of(&self, name: &str) -> Option<&str> {
        let module = self.listed(name)?;
        module.strip_prefix('[')?.strip_suffix(']')
    }

    /// Of a function in ftrace's list its `[MODULE]`, empty for the kernel's own.
    fn listed(&self, name: &str) -> Option<&str> {
        let mut line = self
            .functions()
            .find(|line| line.clone().next() == Some(name))?;
        Some(line.nth(1).unwrap_or_default())
    }

    /// The lines of ftrace's list, in words: `NAME` or `NAME [MODULE]`.
    fn functions(&self) -> impl Iterator<Item = SplitWhitespace<'_>> {
        let list = self.available_functions.as_deref().unwrap_or_default();
        list.lines().map(str::split_whitespace)
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
    fn a_function_goes_by_the_names_of_its_copies_only_where_it_has_none() {
        let list = "plain\nplain.constprop.0\ncopied.isra.0.constprop.0 [module]\ncopied.isra.0.cold [module]\n\
            copied_more.isra.0\ntwice.constprop.0\ntwice.constprop.1\nparted.part.0\n";
        let kernel = kernel(&[("sys/kernel/tracing/available_filter_functions", list)]);
        for (function, symbols) in [
            ("plain", &["plain"][..]),
            ("copied", &["copied.isra.0.constprop.0"]),
            ("twice", &["twice.constprop.0", "twice.constprop.1"]),
            ("parted", &[]),
            ("missing", &[]),
        ] {
            assert_eq!(kernel.symbols_of(function), symbols);
        }
        assert_eq!(
            kernel.module_of("copied.isra.0.constprop.0"),
            Some("module")
        );
        assert_eq!(kernel.module_of("plain"), None);
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
