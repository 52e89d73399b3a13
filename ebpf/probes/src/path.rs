//! Paths as the kernel has them: dentries and mounts, leaf first. User space puts them together.

use kmodtrail_abi::{CGROUP_BUDGET, CGROUP_STEPS, COMPONENT, PATH_STEPS, section};

use crate::{
    kernel::{get, offset},
    record::Record,
};

impl Record {
    /// Appends the components of a `struct path` and gives the section's flags. `d_path` (fs/d_path.c) does the same with locks.
    #[inline(always)]
    pub unsafe fn walk(&mut self, path: u64, budget: u64) -> u16 {
        unsafe {
            // mnt and dentry are neighbours
            let p: [u64; 2] = get(path, offset!(path_mnt));
            let mut dentry = p[1];
            if dentry == 0 {
                return section::FAULT;
            }
            let mut mount = p[0].wrapping_sub(offset!(mount_mnt) as u64);
            // mnt_parent, mnt_mountpoint and mnt.mnt_root are neighbours
            let mut m: [u64; 3] = get(mount, offset!(mount_parent));
            let mut flags = section::CUT;
            let limit = self.position() + budget;
            let mut leaf = true;
            for _ in 0..PATH_STEPS {
                if dentry == m[2] {
                    if m[0] == mount {
                        flags = flags & !section::CUT | section::REACHED_ROOT;
                        break;
                    }
                    dentry = m[1];
                    mount = m[0];
                    m = get(mount, offset!(mount_parent));
                    leaf = false;
                    continue;
                }
                if self.position() >= limit {
                    break;
                }
                // d_hash.pprev, d_parent, d_name.hash_len (the length in its upper half) and d_name.name are neighbours
                let d: [u64; 4] = get(dentry, offset!(dentry_hash) + 8);
                // d_hash.pprev is NULL for what has been unlinked (and for the root of a file system, which is no leaf here)
                if leaf && d[0] == 0 {
                    flags |= section::UNLINKED;
                }
                leaf = false;
                self.component(d[3], d[2] >> 32);
                if d[1] == dentry || d[1] == 0 {
                    flags = flags & !section::CUT | section::DETACHED;
                    break;
                }
                dentry = d[1];
            }
            flags
        }
    }

    /// A section with a path.
    #[inline(always)]
    pub unsafe fn path(&mut self, kind: u16, path: u64, budget: u64) {
        unsafe {
            let start = self.open();
            let flags = self.walk(path, budget);
            self.close(start, kind, flags);
        }
    }

    /// A section with the path of a kernfs node.
    #[inline(always)]
    pub unsafe fn cgroup_path(&mut self, node: u64) {
        unsafe {
            let start = self.open();
            let limit = self.position() + CGROUP_BUDGET as u64;
            let mut node = node;
            let mut flags = section::CUT;
            for _ in 0..CGROUP_STEPS {
                // parent and name are neighbours
                let n: [u64; 2] = get(node, offset!(kernfs_parent));
                if n[0] == 0 {
                    flags = section::REACHED_ROOT;
                    break;
                }
                if self.position() >= limit {
                    break;
                }
                self.component_of_unknown_length(n[1]);
                node = n[0];
            }
            self.close(start, section::CGROUP, flags);
        }
    }

    /// A kernfs name's length is nowhere to be read.
    #[inline(always)]
    unsafe fn component_of_unknown_length(&mut self, name: u64) {
        unsafe {
            let at = self.position();
            self.set_position(at + 1);
            self.append_string(name, COMPONENT as u32, false);
            let length = self.position().wrapping_sub(at + 1);
            self.at(at).write(length as u8);
        }
    }
}
