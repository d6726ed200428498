//! A guest's virtual network cards.

use std::{fs, path::Path};

/// How many queues they have, the one that has most. `None`: there is no such card, or it does not say.
#[must_use]
pub fn queues(root: &Path) -> Option<u32> {
    let interfaces = fs::read_dir(root.join("sys/class/net")).ok()?.flatten();
    let cards = interfaces.filter(|interface| {
        let node = fs::read_to_string(interface.path().join("device/nodename"));
        node.is_ok_and(|node| node.starts_with("device/vif/"))
    });
    let most = cards.map(|card| queues_of(&card.path())).max()?;
    (most > 0).then_some(most)
}

/// Of either direction.
fn queues_of(card: &Path) -> u32 {
    let queues = fs::read_dir(card.join("queues")).into_iter().flatten();
    let names: Vec<_> = queues.flatten().map(|queue| queue.file_name()).collect();
    let count = |prefix: &str| {
        let is_one = |name: &&std::ffi::OsString| name.to_string_lossy().starts_with(prefix);
        names.iter().filter(is_one).count()
    };
    u32::try_from(count("tx-").max(count("rx-"))).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(root: &Path, name: &str, node: Option<&str>, queues: &[&str]) {
        let folder = root.join("sys/class/net").join(name);
        for queue in queues {
            fs::create_dir_all(folder.join("queues").join(queue)).unwrap();
        }
        if let Some(node) = node {
            fs::create_dir_all(folder.join("device")).unwrap();
            fs::write(folder.join("device/nodename"), node).unwrap();
        }
    }

    #[test]
    fn the_virtual_card_with_most_queues_counts() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(queues(root.path()), None);
        card(root.path(), "lo", None, &["tx-0", "rx-0"]);
        assert_eq!(queues(root.path()), None);
        card(
            root.path(),
            "eth0",
            Some("device/vif/0\n"),
            &["tx-0", "rx-0"],
        );
        assert_eq!(queues(root.path()), Some(1));
        card(
            root.path(),
            "eth1",
            Some("device/vif/1\n"),
            &["tx-0", "rx-0", "rx-1"],
        );
        assert_eq!(queues(root.path()), Some(2));
    }
}
