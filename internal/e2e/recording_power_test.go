package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"consilium/recorder"
)

// A power cut is more than a kill: what was written and not synced is gone.
// ext4 can be shut down so that it forgets all that, journal included, at one
// instant (EXT4_IOC_SHUTDOWN without a flush), as its own developers do to test
// it; mounted again it replays its journal.
func TestAPowerCutLosesSecondsAndLeavesNoGarbage(t *testing.T) {
	binary, clips := buildProgram(t), numbered(t)
	rounds := 1
	if *soak {
		rounds = 10
	}
	for range rounds {
		t.Run("round", func(t *testing.T) {
			disk := newDisk(t)
			data := filepath.Join(disk.dir, "data")
			p := startProgram(t, binary, data, nil)
			call, notes := p.talk(clips)
			sent := notes.untilNow()
			disk.cutPower()
			p.kill()
			disk.mountAgain()

			again := startProgram(t, binary, data, nil)
			m := again.manifest(call, recorder.Recovered)
			again.wantLoss(m, sent, powerLoss)
			again.holdsOnlyWhole(call, m)
		})
	}
}

// holdsOnlyWhole checks that a recording has no file but those of its manifest,
// and none of them is empty.
func (p *program) holdsOnlyWhole(call string, m recorder.Manifest) {
	p.t.Helper()
	listed := map[string]bool{"manifest.json": true}
	for _, s := range m.Segments {
		if s.State == recorder.Failed { // it has no file
			continue
		}
		listed[s.File] = true
		if s.Bytes == 0 || s.Frames == 0 {
			p.t.Errorf("%s is listed and has %d bytes, %d frames", s.File, s.Bytes, s.Frames)
		}
	}
	files, err := os.ReadDir(filepath.Dir(p.file(call, "manifest.json")))
	p.must(err)
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Size() == 0 {
			p.t.Errorf("%s is empty: %v", f.Name(), err)
		}
		if filepath.Ext(f.Name()) == ".webm" && !listed[f.Name()] {
			p.t.Errorf("%s is not in the manifest", f.Name())
		}
	}
}

// disk is an ext4 file system in a file, mounted as long as the test runs.
type disk struct {
	t          *testing.T
	image, dir string
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts a file system: run it as root")
	}
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "disk"), dir: filepath.Join(t.TempDir(), "mounted")}
	d.must(os.Mkdir(d.dir, 0o700))
	image, err := os.Create(d.image)
	d.must(err)
	d.must(image.Truncate(512 << 20)) // sparse
	d.must(image.Close())
	d.command("mkfs.ext4", "-q", d.image)
	d.command("mount", "-o", "loop", d.image, d.dir)
	t.Cleanup(func() { d.command("umount", d.dir) })
	return d
}

func (d *disk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) command(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// cutPower makes the file system forget what is not on the disk and refuse all
// that comes.
func (d *disk) cutPower() {
	d.t.Helper()
	dir, err := os.Open(d.dir)
	d.must(err)
	defer dir.Close()
	const shutdown = 0x8004587D // EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)
	const withoutFlush = 2      // EXT4_GOING_FLAGS_NOLOGFLUSH
	d.must(unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, withoutFlush))
}

// mountAgain is the start of the machine after cutPower. It takes a copy of the
// disk: a process in a mount namespace of its own may still hold the old one.
func (d *disk) mountAgain() {
	d.t.Helper()
	d.command("umount", d.dir)
	d.command("cp", "--sparse=always", d.image, d.image+"-after")
	d.command("mount", "-o", "loop", d.image+"-after", d.dir)
}
