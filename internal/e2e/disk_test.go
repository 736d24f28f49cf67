package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"golang.org/x/sys/unix"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/internal/leak"
	"consilium/internal/media"
	"consilium/recorder"
)

// smallDisk is a real file system of the test's own: an ext4 on a loop device.
type smallDisk struct {
	t   *testing.T
	dir string
}

func mountDisk(t *testing.T, size string) *smallDisk {
	t.Helper()
	d := &smallDisk{t, filepath.Join(t.TempDir(), "disk")}
	image := d.dir + ".image"
	d.command("truncate", "-s", size, image)
	d.command("mkfs.ext4", "-q", "-F", "-m", "0", image)
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	d.command("mount", "-o", "loop", image, d.dir)
	t.Cleanup(func() { d.command("umount", d.dir) })
	return d
}

func (d *smallDisk) command(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %s: %v: %s (the test needs root and loop devices)", name, strings.Join(args, " "), err, out)
	}
}

// ioctls of a file system (linux/fs.h).
const (
	freezeIoctl = 0xC0045877 // FIFREEZE
	thawIoctl   = 0xC0045878 // FITHAW
)

// freeze makes every write to the disk hang from its return on, as a SAN does
// that fails over, until thaw is called.
func (d *smallDisk) freeze() (thaw func()) {
	d.t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	// Another process ends the stall, should this one hang with the disk.
	rescue := exec.Command("sh", "-c", `sleep 20 && exec fsfreeze --unfreeze "$0"`, d.dir)
	if err := rescue.Start(); err != nil {
		d.t.Fatal(err)
	}
	if err := unix.IoctlSetInt(int(f.Fd()), freezeIoctl, 0); err != nil {
		d.t.Fatalf("freeze: %v", err)
	}
	thaw = sync.OnceFunc(func() {
		defer f.Close()
		if err := unix.IoctlSetInt(int(f.Fd()), thawIoctl, 0); err != nil {
			d.t.Errorf("thaw: %v", err)
		}
		_ = rescue.Process.Kill()
		_ = rescue.Wait() // it was killed
	})
	d.t.Cleanup(thaw)
	return thaw
}

// fill leaves so many bytes free.
func (d *smallDisk) fill(left int64) {
	d.t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(d.dir, &s); err != nil {
		d.t.Fatal(err)
	}
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		d.t.Fatal(err)
	}
	if more := int64(s.Bavail)*s.Bsize - left; more > 0 {
		if err := unix.Fallocate(int(f.Fd()), 0, info.Size(), more); err != nil {
			d.t.Fatalf("fill the disk: %v", err)
		}
	}
}

func (d *smallDisk) filler() string { return filepath.Join(d.dir, "filler") }

// gaps measures the longest time between two packets of a track.
type gaps struct {
	mu      sync.Mutex
	last    map[string]time.Time
	longest time.Duration
}

func (g *gaps) packet(track string, _ *rtp.Packet, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if last, ok := g.last[track]; ok {
		g.longest = max(g.longest, at.Sub(last))
	}
	g.last[track] = at
}

// begin forgets what was measured.
func (g *gaps) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.longest = 0
}

func (g *gaps) end() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.longest
}

// A real file system stands still for 4 s under a call. Nothing but the disk
// may notice: packets go on, somebody joins, events are delivered.
func TestAFrozenDiskDisturbsNoCall(t *testing.T) {
	leak.Check(t)
	const frozen, allowed = 4 * time.Second, 20 * time.Millisecond
	disk := mountDisk(t, "256M")
	l, hook := startHooked(t, func(c *config.Config) { c.Data, c.Recording.MinFree = disk.dir, config.Space{} })
	l.bot("room", "doctor", auth.RoleDoctor, nil)
	l.bot("room", "patient", auth.RolePatient, nil)
	g := &gaps{last: map[string]time.Time{}}
	nurse := l.bot("room", "nurse", auth.RoleDoctor, func(c *bot.Config) { c.Publish, c.OnPacket = []media.Source{}, g.packet })
	ctx := l.context(2 * time.Minute)
	for _, who := range []string{"doctor", "patient"} {
		for _, source := range []media.Source{media.Microphone, media.Camera} {
			l.must(nurse.WaitFrames(ctx, who, source, 30))
		}
	}
	first := l.waitEvent(event.CallStarted, "", patience)
	call, last := first.Call, first.ID // who follows the feed knows where he is

	// What is done while the disk stands still is done before as well, so that
	// the two can be compared.
	window := func(visitor string) (longest, joined time.Duration) {
		g.begin()
		began := time.Now()
		over := time.After(frozen)
		late := l.bot("room", visitor, auth.RoleCompanion, func(c *bot.Config) { c.Publish = []media.Source{} })
		l.must(late.WaitConnected(ctx))
		joined = time.Since(began)
		hook.wait(t, "participant.joined", func(e event.Event) bool {
			return e.Type == event.ParticipantJoined && e.Participant == visitor
		})
		told := time.Since(began)
		asked := time.Now()
		var feed struct{ Events []event.Event }
		l.get("/v1/events?limit=1000&after="+last, &feed)
		read := time.Since(asked)
		if len(feed.Events) == 0 {
			t.Errorf("the feed has nothing of %s", visitor)
		}
		t.Logf("%s: connected after %v, the webhook knew after %v, %d events of the feed took %v", visitor, joined, told, len(feed.Events), read)
		if told > time.Second || read > time.Second {
			t.Errorf("the webhook was told of %s after %v, the feed took %v", visitor, told, read)
		}
		<-over
		longest = g.end()
		l.must(late.Leave(ctx))
		return longest, joined
	}
	var baseline time.Duration
	for _, visitor := range []string{"first", "second", "third"} {
		longest, _ := window(visitor)
		baseline = max(baseline, longest)
	}
	thaw := disk.freeze()
	longest, joined := window("late")
	thaw()
	t.Logf("longest gap between packets: %v, with the disk frozen for %v: %v", baseline, frozen, longest)
	if longest > baseline+allowed {
		t.Errorf("with the disk frozen packets came %v apart, before %v", longest, baseline)
	}
	if joined > time.Second {
		t.Errorf("who came while the disk was frozen waited %v", joined)
	}
	l.stop()
	m, err := recorder.Show(l.cfg.Data, call)
	l.must(err)
	for _, track := range m.Tracks {
		t.Logf("%s %s: %d packets, %d lost, %d did not fit into the queue", track.Participant, track.Source, track.Packets, track.PacketsLost, track.Overflowed)
		if track.Overflowed > 0 {
			t.Errorf("the queue did not hold %v of %s %s", frozen, track.Participant, track.Source)
		}
	}
	for _, s := range m.Segments {
		if s.State != recorder.Final {
			t.Errorf("%s is %s", s.File, s.State)
		}
	}
}

// What nobody may begin on a disk that stands still is refused in time, and
// can be begun afterwards.
func TestACallThatCantBeRecordedOnAFrozenDiskIsRefused(t *testing.T) {
	disk := mountDisk(t, "256M")
	l := start(t, func(c *config.Config) { c.Data, c.Recording.MinFree = disk.dir, config.Space{} })
	thaw := disk.freeze()
	began := time.Now()
	refused := l.bot("room", "doctor", auth.RoleDoctor, nil)
	select {
	case <-refused.Done():
	case <-time.After(patience):
		t.Fatal("the call began, or nobody said why it did not")
	}
	if code, ok := errors.AsType[*bot.Error](refused.Err()); !ok || code.Code != string(event.RecorderFailed) {
		t.Errorf("the refusal was %v", refused.Err())
	}
	if after := time.Since(began); after > 5*time.Second {
		t.Errorf("the refusal came after %v", after)
	}
	// Who tries again while it stands still waits for the same attempt, and has
	// it as soon as the disk answers.
	again := l.bot("room", "patient", auth.RolePatient, nil)
	thaw()
	for deadline := time.After(patience); len(l.eventsOf(event.RecordingArmed)) == 0; {
		select {
		case <-again.Done():
			t.Fatalf("the first retry was refused: %v", again.Err())
		case <-deadline:
			t.Fatal("no call can begin after the stall")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// eventsOf returns the events of a type.
func (l *lab) eventsOf(kind event.Type) (found []event.Event) {
	l.t.Helper()
	for _, e := range l.events() {
		if e.Type == kind {
			found = append(found, e)
		}
	}
	return found
}
