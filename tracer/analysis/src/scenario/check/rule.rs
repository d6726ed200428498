//! What every rule is made of, and those that several kinds of field share.

use crate::{
    datapath::{DATAPATHS, datapath},
    toml_file::Problem,
};

pub(super) type Checked = Result<(), Problem>;

pub(super) fn problem(field: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem {
        field: field.into(),
        message: message.into(),
    }
}

/// Names become parts of file, namespace and device names.
pub(super) fn check_name(field: &str, name: &str) -> Checked {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 40 || !name.chars().all(good) {
        return Err(problem(
            field,
            format!("is {name:?}; allowed are 1 to 40 letters, digits, '-' and '_'"),
        ));
    }
    Ok(())
}

pub(super) fn check_datapaths(field: &str, datapaths: &[String]) -> Checked {
    let known: Vec<&str> = DATAPATHS.iter().map(|path| path.name).collect();
    match datapaths
        .iter()
        .enumerate()
        .find(|(_, name)| datapath(name).is_none())
    {
        Some((index, name)) => Err(problem(
            format!("{field}.{index}"),
            format!(
                "there is no datapath {name:?}; allowed: {}",
                known.join(", ")
            ),
        )),
        None => Ok(()),
    }
}
