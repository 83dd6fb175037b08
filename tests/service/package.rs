//! The Debian package of this build: installed, upgraded, removed and purged on a fresh Debian, and started there by
//! systemd in the virtual machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::{REPOSITORY, available, machine, told};

/// Programs that make the package and the Debian that it is installed on.
const PROGRAMS: &[&str] = &["cargo-deb", "mmdebstrap", "dpkg-deb", "strip", "unshare"];

/// What the Debian has besides its essential packages. Python and iptables stand in for what is on a switch.
const PACKAGES: &str = "systemd,systemd-sysv,nftables,iproute2,kmod,python3-minimal,iptables";

/// Versions of the package; the second is an upgrade.
const VERSIONS: [&str; 2] = ["0.1.0-1", "0.1.0-2"];

/// A fresh Debian of the release that this machine has, made once and never changed.
static DEBIAN: LazyLock<PathBuf> = LazyLock::new(|| {
    let release = fs::read_to_string("/etc/os-release").unwrap();
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .expect("a Debian has a name");
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("debian-{codename}"));
    let list = root.with_extension("packages");
    if fs::read_to_string(&list).is_ok_and(|made| made != PACKAGES) {
        fs::remove_dir_all(&root).unwrap();
    }
    if !root.exists() {
        // It appears whole or not at all.
        let begun = root.with_extension("begun");
        if begun.exists() {
            fs::remove_dir_all(&begun).unwrap();
        }
        fs::write(&list, PACKAGES).unwrap();
        let mut make = Command::new("mmdebstrap");
        make.args(["--quiet", "--variant=minbase", "--include", PACKAGES]);
        told(make.arg("--format=directory").arg(codename).arg(&begun));
        fs::rename(&begun, &root).unwrap();
    }
    root
});

/// A folder with both versions of the package, the scripts of this test and the example.
fn packages() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    // cargo-deb packages what stands in a release folder.
    let target = folder.path().join("target");
    fs::create_dir_all(target.join("release")).unwrap();
    // Without debug information, which is most of it.
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(target.join("release/flowacl"));
    told(strip.arg(env!("CARGO_BIN_EXE_flowacl")));
    for version in VERSIONS {
        let mut deb = Command::new("cargo-deb");
        deb.current_dir(REPOSITORY)
            .env("CARGO_TARGET_DIR", &target)
            .args(["deb", "--no-build", "--fast", "--quiet", "--offline"])
            .args(["--deb-version", version, "--output"]);
        told(deb.arg(package(folder.path(), version)));
    }
    fs::remove_dir_all(&target).unwrap();
    for file in [
        "tests/service/steps.sh",
        "tests/service/installed.sh",
        "tests/service/booted.sh",
        "tests/service/switches.sh",
        "examples/router.toml",
    ] {
        let from = Path::new(REPOSITORY).join(file);
        let to = folder.path().join(from.file_name().unwrap());
        fs::copy(from, to).unwrap();
    }
    folder
}

/// The file of one version.
fn package(folder: &Path, version: &str) -> PathBuf {
    folder.join(format!("flowacl_{version}.deb"))
}

#[test]
fn it_is_installed_configured_upgraded_removed_and_purged() {
    if !available(PROGRAMS) {
        return;
    }
    let folder = packages();
    // A layer over the Debian, which is gone with the mount namespace.
    let script = r#"
        set -e
        mount -t tmpfs layer "$2/layer"
        mkdir "$2/layer/upper" "$2/layer/work" "$2/layer/root"
        mount -t overlay -o "lowerdir=$1,upperdir=$2/layer/upper,workdir=$2/layer/work" root "$2/layer/root"
        root=$2/layer/root
        mount -t proc proc "$root/proc"
        mkdir "$root/packages" && mount --bind "$2" "$root/packages"
        cd "$root/packages"
        shift 2
        exec chroot "$root" bash -c 'cd /packages && exec bash installed.sh "$@"' bash "$@""#;
    fs::create_dir(folder.path().join("layer")).unwrap();
    let mut install = Command::new("unshare");
    install.args(["--mount", "--propagation", "private", "bash", "-c", script]);
    install.arg("bash").arg(&*DEBIAN).arg(folder.path());
    let files = VERSIONS.map(|version| package(Path::new("/packages"), version));
    let output = told(install.args(files).arg("/packages/router.toml"));
    assert!(output.ends_with("installed and purged\n"), "{output}");
}

#[test]
fn systemd_starts_it_and_keeps_it_alive() {
    if !available(PROGRAMS) || !machine::available() {
        return;
    }
    let folder = packages();
    let path = folder.path().to_str().unwrap();
    let debian = DEBIAN
        .to_str()
        .expect("cargo's folder has a printable name");
    let script = folder.path().join("booted.sh");
    let [old, new] = VERSIONS.map(|version| package(folder.path(), version));
    let command = [&script, &old, &new].map(|path| path.to_str().unwrap());
    let options = [
        "-m", "1024", "-c", "2", "-t", "600", "-b", "-r", debian, "-s", path,
    ];
    let output = machine::run(&options, &[&["bash"], &command[..]].concat());
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.ends_with("started, upgraded and removed\n"),
        "{}\n{told}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
