//! The order of rooms in docs/architecture.md, held against the sources: a room uses only those that stand above it
//! there, in its own crate.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Item, ItemMod, ItemUse, UseTree,
    visit::{self, Visit},
};

/// A crate's rooms: the modules at its top.
#[derive(Debug, PartialEq, Eq)]
struct House {
    /// The folder of its sources, from the repository's root.
    sources: String,
    /// In the order of the document.
    rooms: Vec<String>,
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The houses of the document: a heading with the folder of the sources, then a numbered line for each room.
fn houses(document: &str) -> Vec<House> {
    let mut houses: Vec<House> = Vec::new();
    for line in document.lines() {
        let named = line.split('`').nth(1);
        if let (true, Some(name)) = (line.starts_with("### `"), named) {
            houses.push(House {
                sources: name.to_owned(),
                rooms: Vec::new(),
            });
        } else if line.starts_with("1. `")
            && let (Some(house), Some(name)) = (houses.last_mut(), named)
        {
            house.rooms.push(name.to_owned());
        }
    }
    houses
}

/// Whether an item is compiled for tests alone: tests look at whatever they test.
fn is_test(attributes: &[Attribute]) -> bool {
    let mut attributes = attributes.iter();
    attributes.any(|own| {
        own.path().is_ident("cfg")
            && own
                .meta
                .require_list()
                .is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

/// The rooms that a file names: the first step of each path from the crate's root.
#[derive(Default)]
struct Named(BTreeSet<String>);

impl Named {
    fn of(source: &str) -> Self {
        let mut named = Self::default();
        named.visit_file(&syn::parse_file(source).unwrap());
        named
    }

    fn begins(&mut self, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => self.add(path.ident.to_string()),
            UseTree::Name(name) => self.add(name.ident.to_string()),
            UseTree::Rename(name) => self.add(name.ident.to_string()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.begins(tree)),
            UseTree::Glob(_) => {}
        }
    }

    fn add(&mut self, room: String) {
        self.0.insert(room);
    }
}

impl<'f> Visit<'f> for Named {
    fn visit_item_mod(&mut self, item: &'f ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'f ItemUse) {
        if let UseTree::Path(path) = &item.tree
            && path.ident == "crate"
        {
            self.begins(&path.tree);
        }
    }

    fn visit_path(&mut self, path: &'f syn::Path) {
        let mut steps = path.segments.iter().map(|step| step.ident.to_string());
        if steps.next().as_deref() == Some("crate")
            && let Some(room) = steps.next()
        {
            self.add(room);
        }
        visit::visit_path(self, path);
    }
}

/// The source files of a folder, with the room that each is in; not those of tests, which are in files of their own.
fn files(sources: &Path) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    let mut folders = vec![sources.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let own = path.strip_prefix(sources).unwrap();
            let step = own.components().next().unwrap();
            let room = Path::new(step.as_os_str()).with_extension("");
            if path.file_stem().is_some_and(|stem| stem == "tests") {
                continue;
            }
            if path.is_dir() {
                folders.push(path.clone());
            } else if path.extension().is_some_and(|own| own == "rs") {
                files.push((room.display().to_string(), path.clone()));
            }
        }
    }
    files
}

/// The modules that the root of a crate declares.
fn declared(sources: &Path) -> BTreeSet<String> {
    let roots = ["lib.rs", "main.rs"].map(|name| sources.join(name));
    let mut rooms = BTreeSet::new();
    for root in roots.iter().filter(|root| root.exists()) {
        let file = syn::parse_file(&fs::read_to_string(root).unwrap()).unwrap();
        for item in file.items {
            if let Item::Mod(module) = item
                && !is_test(&module.attrs)
            {
                rooms.insert(module.ident.to_string());
            }
        }
    }
    rooms
}

/// The rooms that a file of `room` uses and that do not stand above it.
fn not_above(room: &str, source: &str, order: &[String]) -> Vec<String> {
    let own = order.iter().position(|other| other == room);
    let named = Named::of(source).0.into_iter();
    named
        .filter(|other| {
            let place = order.iter().position(|room| room == other);
            // What is no room is an item of the crate's root.
            place.is_some_and(|place| Some(place) > own)
        })
        .collect()
}

#[test]
fn every_room_uses_only_those_above_it() {
    let document = repository().join("docs/architecture.md");
    let houses = houses(&fs::read_to_string(document).unwrap());
    assert_eq!(houses.len(), 5, "{houses:?}");
    let mut faults = Vec::new();
    for house in &houses {
        let sources = repository().join(&house.sources);
        let told: BTreeSet<String> = house.rooms.iter().cloned().collect();
        let declared = declared(&sources);
        assert_eq!(told, declared, "the rooms of {}", house.sources);
        assert_eq!(
            told.len(),
            house.rooms.len(),
            "{} names one twice",
            house.sources
        );
        for (room, file) in files(&sources) {
            if !told.contains(&room) {
                continue;
            }
            let source = fs::read_to_string(&file).unwrap();
            for other in not_above(&room, &source, &house.rooms) {
                faults.push(format!("{}: `{room}` uses `{other}`", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn an_arrow_that_goes_up_is_found_in_whatever_form() {
    let order = ["units", "compare", "report"].map(str::to_owned);
    let up = |source| not_above("compare", source, &order);
    for source in [
        "use crate::report::text;",
        "use crate::{units::time, report};",
        "pub(crate) use crate::report as printed;",
        "fn f() -> crate::report::Format { crate::units::time(1) }",
        "mod inner { fn f() { crate::report::print(); } }",
    ] {
        assert_eq!(up(source), ["report"], "{source}");
    }
    for source in [
        "use crate::{units::time, compare::Pair, Report};",
        "use serde::report; use super::report;",
        "#[cfg(test)] mod tests { use crate::report::text; }",
    ] {
        assert_eq!(up(source), [""; 0], "{source}");
    }
}
