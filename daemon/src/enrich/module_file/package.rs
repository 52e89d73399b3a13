//! Which package a module's file belongs to: dpkg's database, DKMS' tree, and what rpm says of its own.

mod rpm;

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    io::{self, BufRead as _, BufReader, Read as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use self::rpm::Rpm;
use crate::{
    event::{Package, Text},
    host::Host,
};

/// Where dpkg has one list of files for each package.
const DPKG: &str = "/var/lib/dpkg";
const DKMS: &str = "/var/lib/dkms";
/// Bounds what a broken database can cost, bytes of one file.
const LARGEST_FILE: u64 = 64 << 20;
const MOST_MODULES: usize = 1 << 20;

/// Of this host.
#[derive(Debug)]
pub(super) struct Packages {
    /// Where the paths that are asked for begin.
    root: PathBuf,
    dpkg: PathBuf,
    dkms: PathBuf,
    index: Option<Index>,
    rpm: Rpm,
}

/// The modules of all packages. A path is kept as a number: there are thousands of them.
#[derive(Debug)]
struct Index {
    /// When the folder of lists was changed last: a package that comes or goes changes it.
    changed: (i64, i64),
    hasher: RandomState,
    packages: HashMap<u64, Arc<(Text, Option<Text>)>>,
}

impl Packages {
    pub(super) fn of(host: &Host) -> Self {
        let path = |path: &str| host.path(Path::new(path));
        Self { root: path("/"), dpkg: path(DPKG), dkms: path(DKMS), index: None, rpm: Rpm::of(host.clone()) }
    }

    /// `None` where there is no package manager that could know.
    pub(super) fn owner(&mut self, path: &Path) -> Option<Package> {
        if let Some(owner) = self.built_by_dkms(path) {
            return Some(owner);
        }
        let dpkg = self.owner_by_dpkg(path).unwrap_or_else(|error| Some(Package::Unknown(format!("dpkg: {error}"))));
        if let Some(Package::Owned { .. }) = dpkg {
            return dpkg;
        }
        // who knows nothing of it says less than who can't say
        match (dpkg, self.rpm.owner(path)) {
            (dpkg, None) => dpkg,
            (Some(unknown @ Package::Unknown(_)), Some(Package::NotOwned)) => Some(unknown),
            (_, rpm) => rpm,
        }
    }

    fn owner_by_dpkg(&mut self, path: &Path) -> io::Result<Option<Package>> {
        let metadata = match fs::metadata(self.dpkg.join("info")) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        let index = match self.index.take().filter(|index| index.changed == changed) {
            Some(index) => index,
            None => Index::read(&self.dpkg, changed)?,
        };
        let index = self.index.insert(index);
        let owner = index.packages.get(&index.hasher.hash_one(without_usr(path.as_os_str().as_bytes())));
        Ok(Some(owner.map_or(Package::NotOwned, |owner| Package::Owned {
            manager: "dpkg",
            name: owner.0.clone(),
            version: owner.1.clone(),
        })))
    }

    /// DKMS leaves what it has built in its own tree, too: NAME/VERSION/KERNEL/ARCHITECTURE/module/FILE.
    fn built_by_dkms(&self, path: &Path) -> Option<Package> {
        let file = path.file_name()?;
        let kernel = path
            .strip_prefix("/usr")
            .map_or(path, |_| path)
            .components()
            .skip_while(|c| c.as_os_str() != "modules")
            .nth(1)?;
        for name in subfolders(&self.dkms) {
            for version in subfolders(&name) {
                for architecture in subfolders(&version.join(kernel)) {
                    let built = architecture.join("module").join(file);
                    if same_content(&built, &self.root.join(path.strip_prefix("/").unwrap_or(path))) {
                        let text = |path: &Path| path.file_name().map(|name| Text::from_bytes(name.as_bytes()));
                        return Some(Package::Owned { manager: "dkms", name: text(&name)?, version: text(&version) });
                    }
                }
            }
        }
        None
    }
}

fn same_content(one: &Path, other: &Path) -> bool {
    let size =
        |path: &Path| fs::metadata(path).ok().filter(|m| m.is_file() && m.len() <= LARGEST_FILE).map(|m| m.len());
    let content = |path: &Path| fs::read(path).ok();
    size(one).is_some() && size(one) == size(other) && content(one) == content(other)
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// The kernel sees /usr/lib/modules where packages still have /lib/modules, and the other way round.
fn without_usr(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"/usr").filter(|rest| rest.starts_with(b"/lib/")).unwrap_or(path)
}

impl Index {
    fn read(dpkg: &Path, changed: (i64, i64)) -> io::Result<Self> {
        let versions = versions(&dpkg.join("status"))?;
        let mut index = Self { changed, hasher: RandomState::new(), packages: HashMap::new() };
        for entry in fs::read_dir(dpkg.join("info"))? {
            let path = entry?.path();
            if path.extension() != Some(OsStr::new("list")) {
                continue;
            }
            // NAME.list, or NAME:ARCHITECTURE.list
            let name = path.file_stem().unwrap_or_default().as_bytes();
            let name = name.split(|&byte| byte == b':').next().unwrap_or_default();
            let mut package = None;
            let mut bytes = Vec::new();
            File::open(&path)?.take(LARGEST_FILE).read_to_end(&mut bytes)?;
            for line in bytes.split(|&byte| byte == b'\n').filter(|line| is_module(line)) {
                let package = package.get_or_insert_with(|| {
                    Arc::new((Text::from_bytes(name), versions.get(name).map(|version| Text::from_bytes(version))))
                });
                if index.packages.len() < MOST_MODULES {
                    index.packages.insert(index.hasher.hash_one(without_usr(line)), Arc::clone(package));
                }
            }
        }
        Ok(index)
    }
}

fn is_module(path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    name.windows(3).any(|window| window == b".ko")
}

/// Versions of the packages that are kernels or have modules can't be told from the others: all of them, for a moment.
fn versions(status: &Path) -> io::Result<HashMap<Vec<u8>, Vec<u8>>> {
    let mut versions = HashMap::new();
    let mut package = Vec::new();
    for line in BufReader::new(File::open(status)?.take(LARGEST_FILE)).split(b'\n') {
        let line = line?;
        if let Some(name) = line.strip_prefix(b"Package: ") {
            package = name.to_vec();
        } else if let Some(version) = line.strip_prefix(b"Version: ") {
            versions.insert(std::mem::take(&mut package), version.to_vec());
        }
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where no rpm has a database.
    fn packages(dpkg: impl Into<PathBuf>, dkms: impl Into<PathBuf>) -> Packages {
        let (dpkg, dkms) = (dpkg.into(), dkms.into());
        let rpm = Rpm::of(Host::at("/nowhere"));
        Packages { root: PathBuf::from("/"), dpkg, dkms, index: None, rpm }
    }

    #[test]
    fn the_package_that_has_a_module_is_found_below_usr_or_not() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let (dpkg, dkms) = (folder.path().join("dpkg"), folder.path().join("dkms"));
        fs::create_dir_all(dpkg.join("info")).expect("the test may write");
        let write = |name: &str, text: &str| fs::write(dpkg.join(name), text).expect("the test may write");
        write(
            "status",
            "Package: linux-image-1\nStatus: install ok installed\nVersion: 1-2\n\nPackage: other\nVersion: 3\n",
        );
        write(
            "info/linux-image-1.list",
            "/.\n/lib\n/lib/modules/1/kernel/fs/xfs.ko\n/usr/lib/modules/1/kernel/fs/new.ko.xz\n",
        );
        write("info/other:amd64.list", "/usr/bin/other\n/lib/modules/1/updates/other.ko.zst\n");
        let mut packages = packages(&dpkg, &dkms);
        let mut owner = |path: &str| packages.owner(Path::new(path));
        let owned = |name: &str, version: &str| {
            Some(Package::Owned { manager: "dpkg", name: name.into(), version: Some(version.into()) })
        };
        assert_eq!(owner("/usr/lib/modules/1/kernel/fs/xfs.ko"), owned("linux-image-1", "1-2"));
        assert_eq!(owner("/lib/modules/1/kernel/fs/xfs.ko"), owned("linux-image-1", "1-2"));
        assert_eq!(owner("/lib/modules/1/kernel/fs/new.ko.xz"), owned("linux-image-1", "1-2"));
        assert_eq!(owner("/lib/modules/1/updates/other.ko.zst"), owned("other", "3"));
        assert_eq!(owner("/lib/modules/1/kernel/fs/xfs.ko.old"), Some(Package::NotOwned));
        assert_eq!(owner("/tmp/evil.ko"), Some(Package::NotOwned));

        // a package that comes later; the folder's time may be as it was where the clock is coarse
        write("info/late.list", "/tmp/evil.ko\n");
        let later_by = std::time::Duration::from_secs(5);
        let later = std::time::SystemTime::now() + later_by;
        File::open(dpkg.join("info")).and_then(|f| f.set_modified(later)).expect("the test may write");
        assert_eq!(
            packages.owner(Path::new("/tmp/evil.ko")),
            Some(Package::Owned { manager: "dpkg", name: "late".into(), version: None })
        );

        // a database that can't be read is none that has not got it
        fs::remove_file(dpkg.join("status")).expect("the test may delete");
        File::open(dpkg.join("info")).and_then(|f| f.set_modified(later + later_by)).expect("the test may write");
        let owner = packages.owner(Path::new("/tmp/evil.ko"));
        assert!(matches!(&owner, Some(Package::Unknown(why)) if why.starts_with("dpkg: No such file")), "{owner:?}");
    }

    #[test]
    fn what_dkms_has_built_is_dkms_and_another_file_of_that_name_is_not() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let built = folder.path().join("dkms/zfs/2.1.11/6.1.0-1/x86_64/module");
        let installed = folder.path().join("lib/modules/6.1.0-1/updates/dkms");
        for place in [&built, &installed] {
            fs::create_dir_all(place).expect("the test may write");
            fs::write(place.join("zfs.ko"), "the module").expect("the test may write");
        }
        let mut packages = packages("/nowhere", folder.path().join("dkms"));
        let path = installed.join("zfs.ko");
        assert_eq!(
            packages.owner(&path),
            Some(Package::Owned { manager: "dkms", name: "zfs".into(), version: Some("2.1.11".into()) })
        );
        fs::write(&path, "another module").expect("the test may write");
        assert_eq!(packages.owner(&path), None, "and there is no dpkg that could know");
    }
}
