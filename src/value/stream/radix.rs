//! The size of the radix tree that Redis would keep, which XINFO STREAM reports.
//!
//! Redis files nodes under their 16-byte first id in a compressed radix tree. Ours is a B-tree; the figure is computed from
//! the ids, so that tools which watch it see what they expect. Must not know: what the nodes hold.

use super::id::StreamId;

/// Length of a key.
const KEY_BYTES: usize = 16;

/// Number of nodes of a compressed radix tree over these ids, which must ascend. O(n).
///
/// Every key ends in a leaf and every place where keys part is a node; the bytes between two of those, less the one that
/// the upper node itself holds, share one more node.
pub fn nodes(ids: impl Iterator<Item = StreamId>) -> usize {
    let mut tree = Tree { nodes: 0, open: Vec::new() };
    let mut before: Option<[u8; KEY_BYTES]> = None;
    let mut parted = None;
    for id in ids {
        let key = id.to_bytes();
        if let Some(before) = before {
            let common = key.iter().zip(&before).take_while(|(a, b)| a == b).count();
            tree.leaf(parted.max(Some(common)));
            tree.part_at(common);
            parted = Some(common);
        }
        before = Some(key);
    }
    if before.is_some() {
        tree.leaf(parted);
        tree.close_to(None);
    } else {
        tree.nodes = 1;
    }
    tree.nodes
}

struct Tree {
    nodes: usize,
    /// Depths of the places where the path to the present key has parted from earlier ones, ascending.
    open: Vec<usize>,
}

impl Tree {
    /// A node at `depth` below one at `parent`, and the chain between them, if there is one.
    fn node(&mut self, depth: usize, parent: Option<usize>) {
        let from = parent.map_or(0, |parent| parent + 1);
        self.nodes += 1 + usize::from(depth > from);
    }

    fn leaf(&mut self, parent: Option<usize>) {
        self.node(KEY_BYTES, parent);
    }

    /// Two neighbouring keys part at `depth`.
    fn part_at(&mut self, depth: usize) {
        self.close_to(Some(depth));
        if self.open.last() != Some(&depth) {
            self.open.push(depth);
        }
    }

    /// Closes the places deeper than `depth`.
    fn close_to(&mut self, depth: Option<usize>) {
        while let Some(place) = self.open.pop_if(|place| Some(*place) > depth) {
            self.node(place, self.open.last().copied().max(depth));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures that Valkey 9.1 reported for streams of one entry a node.
    #[test]
    fn counts_like_a_radix_tree() {
        let count = |ids: &[(u64, u64)]| nodes(ids.iter().map(|(ms, seq)| StreamId::new(*ms, *seq)));
        assert_eq!(count(&[]), 1);
        assert_eq!(count(&[(1, 1)]), 2);
        assert_eq!(count(&[(1, 1), (1, 2)]), 4); // chain, branch, two leaves
        assert_eq!(count(&[(1, 1), (2, 1)]), 6); // chain, branch, two chains, two leaves
        assert_eq!(count(&[(1, 1), (1, 2), (2, 1)]), 8);
        assert_eq!(count(&[(0, 1), (1 << 56, 1)]), 5);
    }
}
