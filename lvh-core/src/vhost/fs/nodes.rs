//! The nodes: which names the guest knows.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::sync::Arc;

use super::names;

/// The node at the top, by the FUSE protocol.
pub(super) const TOP: u64 = 1;

/// How many nodes a guest may know, some 200 bytes each. A Linux guest forgets them when it is short of memory itself.
pub(super) const MAX_NODES: usize = 1 << 20;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A directory that is shown empty.
    Empty,
    /// The shared directory.
    Top,
    /// Something below it.
    Beneath,
}

/// Device, inode number and kind of file (`S_IFMT`): what tells whether a name still means the same file.
pub(super) type Identity = (u64, u64, u32);

/// A node: the entry `name` of the node `parent`.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) identity: Identity,
    /// `None`: the top, or a name that is gone while the guest still holds the file.
    parent: Option<u64>,
    name: Arc<[u8]>,
    /// How often the guest was told of it and has not forgotten.
    lookups: u64,
    /// How many nodes have this one as parent.
    children: u32,
    /// How often the guest has it open: meanwhile it is the file that it was when it was opened.
    pub(super) opens: u32,
}

impl Node {
    /// Whether the node may stand for another file from now on, as its name does. A guest that has a file open means that
    /// one, and the kind of a file never changes for it.
    pub(super) fn is_replaced_by(&self, identity: Identity) -> bool {
        self.opens == 0 && self.identity.2 == identity.2
    }
}

/// All nodes of a share.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: HashMap<u64, Node>,
    entries: HashMap<(u64, Arc<[u8]>), u64>,
    /// Numbers are never used twice, so no generation is needed.
    next: u64,
    limit: usize,
}

impl Nodes {
    pub(super) fn new(identity: Identity, limit: usize) -> Self {
        let top = Node {
            place: Place::Top,
            identity,
            parent: None,
            name: Arc::from(&b""[..]),
            lookups: 1,
            children: 0,
            opens: 0,
        };
        Self { nodes: HashMap::from([(TOP, top)]), entries: HashMap::new(), next: TOP + 1, limit }
    }

    pub(super) fn get(&self, id: u64) -> io::Result<&Node> {
        self.nodes.get(&id).ok_or_else(stale)
    }

    /// The guest opened the node.
    pub(super) fn opened(&mut self, id: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.opens = node.opens.saturating_add(1);
        }
    }

    /// The guest closed it once; whether it has it open still.
    pub(super) fn closed(&mut self, id: u64) -> bool {
        let Some(node) = self.nodes.get_mut(&id) else { return false };
        node.opens = node.opens.saturating_sub(1);
        node.opens > 0
    }

    /// The node's name leads to another file now.
    pub(super) fn replace(&mut self, id: u64, identity: Identity) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.identity = identity;
        }
    }

    /// The node's path from the shared directory.
    pub(super) fn path(&self, id: u64) -> io::Result<CString> {
        self.path_of(id, None)
    }

    /// The same for the entry `name` of the node.
    pub(super) fn path_of(&self, id: u64, name: Option<&[u8]>) -> io::Result<CString> {
        let mut inner: Vec<&[u8]> = name.into_iter().collect();
        let mut at = id;
        loop {
            let node = self.get(at)?;
            match node.place {
                Place::Top => return names::join(&inner),
                Place::Beneath => inner.push(&node.name),
                Place::Empty => return Err(io::Error::from_raw_os_error(libc::EPERM)),
            }
            // A host that moves directories at the wrong moment may make the guest's view go in a circle.
            if inner.len() > libc::PATH_MAX as usize {
                return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
            }
            at = node.parent.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        }
    }

    /// Tells the guest of the entry `name` of `parent`: returns its node. What was another file before has the same one,
    /// unless the guest has that open or it was of another kind.
    pub(super) fn enter(&mut self, parent: u64, name: &[u8], place: Place, identity: Identity) -> io::Result<u64> {
        let key = (parent, Arc::from(name));
        if let Some(&id) = self.entries.get(&key) {
            let node = self.nodes.get_mut(&id).ok_or_else(stale)?;
            // The guest keeps what it has read of a link for as long as it knows the node.
            let goes_on = node.is_replaced_by(identity) && identity.2 != libc::S_IFLNK;
            if node.place == place && (node.identity == identity || goes_on) {
                node.identity = identity;
                node.lookups = node.lookups.saturating_add(1);
                return Ok(id);
            }
            self.detach(parent, name);
        }
        if self.nodes.len() >= self.limit {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        self.nodes.get_mut(&parent).ok_or_else(stale)?.children += 1;
        let id = self.next;
        self.next += 1;
        let node =
            Node { place, identity, parent: Some(parent), name: key.1.clone(), lookups: 1, children: 0, opens: 0 };
        self.nodes.insert(id, node);
        self.entries.insert(key, id);
        Ok(id)
    }

    /// The guest forgets `count` of the times it was told of a node.
    pub(super) fn forget(&mut self, id: u64, count: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.lookups = node.lookups.saturating_sub(count);
            self.drop_unused(id);
        }
    }

    /// The guest forgets everything.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.nodes.retain(|&id, _| id == TOP);
        if let Some(top) = self.nodes.get_mut(&TOP) {
            top.children = 0;
        }
    }

    /// The name is gone; its node stays as long as the guest holds it.
    fn detach(&mut self, parent: u64, name: &[u8]) {
        let Some(id) = self.entries.remove(&(parent, Arc::from(name))) else { return };
        if let Some(node) = self.nodes.get_mut(&id) {
            node.parent = None;
        }
        self.release(parent);
        self.drop_unused(id);
    }

    /// A node lost a child.
    fn release(&mut self, id: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.children = node.children.saturating_sub(1);
        }
        self.drop_unused(id);
    }

    /// Drops a node that neither the guest nor a child needs, and then its parent likewise.
    fn drop_unused(&mut self, id: u64) {
        let mut at = Some(id);
        while let Some(id) = at.filter(|&id| id != TOP) {
            if !self.nodes.get(&id).is_some_and(|node| node.lookups == 0 && node.children == 0) {
                return;
            }
            let node = self.nodes.remove(&id).expect("it was there in the line above");
            at = node.parent;
            if let Some(parent) = node.parent {
                self.entries.remove(&(parent, node.name));
                if let Some(parent) = self.nodes.get_mut(&parent) {
                    parent.children = parent.children.saturating_sub(1);
                }
            }
        }
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.nodes.contains_key(&id)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }
}

/// The guest speaks of a node that it was never told of, or forgot.
fn stale() -> io::Error {
    io::Error::from_raw_os_error(libc::ESTALE)
}
