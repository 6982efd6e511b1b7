package main

import (
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// initSpec tells the first process of a container what to build and run.
type initSpec struct {
	Root, BinDir, ShareDir, CertsDir, HostsDir, NetNS string
	NodeIP                                            string
	Hostname                                          string
	Mounts                                            []bind
	Dir                                               string
	UID, GID                                          int
	Argv, Env                                         []string
}

type bind struct {
	Src, Dst string
	RO, File bool
}

func must(what string, err error) {
	if err != nil {
		log.Fatalf("container init: %s: %v", what, err)
	}
}

// containerInit runs in new mount, PID and UTS namespaces: it builds the root
// file system from bind mounts, enters the pod's network and becomes the process. Until then
// it holds file 3 open: whoever started it learns by its end that the container is there.
func containerInit(file string) {
	runtime.LockOSThread()
	unix.CloseOnExec(3)
	b, err := os.ReadFile(file)
	must("spec", err)
	var s initSpec
	must("spec", json.Unmarshal(b, &s))
	must("private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must("root", unix.Mount("tmpfs", s.Root, "tmpfs", 0, "mode=755"))
	in := func(p string) string { return filepath.Join(s.Root, p) }
	mk := func(p string) { must(p, os.MkdirAll(in(p), 0o755)) }
	put := func(p, text string) { mk(filepath.Dir(p)); must(p, os.WriteFile(in(p), []byte(text), 0o644)) }
	mnt := func(src, dst string, ro bool) {
		must(dst, unix.Mount(src, in(dst), "", unix.MS_BIND|unix.MS_REC, ""))
		if ro {
			must(dst, unix.Mount("", in(dst), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
		}
	}
	for _, d := range []string{"/usr", "/dev", "/proc", "/sys", "/etc/ssl/certs", "/var/lib/istio", "/run/lab-hosts", "/root"} {
		mk(d)
	}
	for _, l := range []string{"bin", "sbin", "lib", "lib64"} {
		must(l, os.Symlink("usr/"+l, in("/"+l)))
	}
	mnt("/usr", "/usr", true)
	mnt(s.BinDir, "/usr/local/bin", true)
	mnt("/dev", "/dev", false)
	must("proc", unix.Mount("proc", in("/proc"), "proc", 0, ""))
	must("tmp", os.Mkdir(in("/tmp"), 0o777))
	must("tmp", os.Chmod(in("/tmp"), 0o1777))
	put("/etc/passwd", "root:x:0:0::/root:/bin/sh\nistio-proxy:x:1337:1337::/tmp:/bin/sh\n")
	put("/etc/group", "root:x:0:\nistio-proxy:x:1337:\n")
	put("/etc/nsswitch.conf", "hosts: files\npasswd: files\ngroup: files\n")
	put("/etc/resolv.conf", "nameserver "+s.NodeIP+"\noptions timeout:1 attempts:1\n")
	mnt(s.HostsDir, "/run/lab-hosts", true)
	must("hosts", os.Symlink("/run/lab-hosts/hosts", in("/etc/hosts")))
	mk("/var/lib/istio/envoy")
	mnt(filepath.Join(s.ShareDir, "envoy"), "/var/lib/istio/envoy", true)
	mnt(s.CertsDir, "/etc/ssl/certs", true)
	for _, m := range s.Mounts {
		if m.File {
			put(m.Dst, "")
		} else {
			mk(m.Dst)
		}
		mnt(m.Src, m.Dst, m.RO)
	}
	must("net", enterNet(s.NetNS))
	must("hostname", unix.Sethostname([]byte(s.Hostname)))
	// Leave the old root altogether: a copy of another pod's netns mount would keep that netns alive.
	must("old root", os.Mkdir(in("/.old"), 0o700))
	must("pivot", unix.PivotRoot(s.Root, in("/.old")))
	must("dir", os.Chdir("/"))
	must("old root", unix.Unmount("/.old", unix.MNT_DETACH))
	must("old root", os.Remove("/.old"))
	must("dir", os.Chdir(s.Dir))
	argv0 := s.Argv[0]
	if !strings.Contains(argv0, "/") {
		for _, d := range []string{"/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/bin/"} {
			if _, err := os.Stat(d + argv0); err == nil {
				argv0 = d + argv0
				break
			}
		}
	}
	must("groups", unix.Setgroups([]int{s.GID}))
	must("gid", unix.Setresgid(s.GID, s.GID, s.GID))
	must("uid", unix.Setresuid(s.UID, s.UID, s.UID))
	must("exec "+argv0, unix.Exec(argv0, s.Argv, s.Env))
}
