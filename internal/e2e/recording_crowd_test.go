package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/testserver"
	"consilium/recorder"
)

// publishes has a device send sound and picture into a room by WHIP, until the
// test ends or it is deleted.
func (p *program) publishes(room, identity string) *bot.HTTPSession {
	p.t.Helper()
	s, err := bot.WHIP(p.context(patience), bot.HTTPConfig{
		Config: bot.Config{URL: p.url, Token: p.token(room, identity, auth.RoleDevice)}, Room: room,
	})
	p.must(err)
	p.t.Cleanup(func() { _ = s.Delete(context.Background()) }) // the server may have ended first
	return s
}

// spooled waits until something of each of n tracks is on the disk.
func (p *program) spooled(n int) {
	p.t.Helper()
	testserver.Eventually(p.t, 2*patience, fmt.Sprintf("something of %d tracks on the disk", n), func() bool {
		spools, err := filepath.Glob(filepath.Join(p.cfg.Data, "spool", "*", "p*"))
		p.must(err)
		written := 0
		for _, name := range spools {
			if info, err := os.Stat(name); err == nil && info.Size() > 1000 {
				written++
			}
		}
		return written >= n
	})
}

// wantAllFinal checks that there are so many recordings and files, all closed.
func (p *program) wantAllFinal(calls, files int) {
	p.t.Helper()
	found := 0
	list := p.recordings()
	for _, r := range list {
		m, err := recorder.Show(p.cfg.Data, r.ID)
		p.must(err)
		if m.State != recorder.Final {
			p.t.Errorf("recording of %s is %s", m.Room, m.State)
		}
		p.wholeFiles(m)
		found += len(m.Segments)
	}
	if len(list) != calls || found != files {
		p.t.Errorf("%d recordings with %d files, want %d with %d", len(list), found, calls, files)
	}
	if left, err := filepath.Glob(filepath.Join(p.cfg.Data, "spool", "*", "*")); err != nil || len(left) > 0 {
		p.t.Errorf("left in the spool: %v, %v", left, err)
	}
}

func TestSIGTERMFinishesTheRecordingsOfTwentyRooms(t *testing.T) {
	const rooms = 20
	p := startProgram(t, buildProgram(t), filepath.Join(t.TempDir(), "data"), nil)
	for i := range rooms {
		p.publishes(fmt.Sprintf("room-%02d", i), "device")
	}
	p.spooled(2 * rooms)
	began := time.Now()
	p.must(p.process.Cmd.Process.Signal(syscall.SIGTERM))
	<-p.process.Ended
	t.Logf("%d rooms ended and were finalised in %v", rooms, time.Since(began).Round(time.Millisecond))
	if took := time.Since(began); took > testserver.StopTime || p.process.Cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("the stop took %v and ended with code %d", took, p.process.Cmd.ProcessState.ExitCode())
	}
	p.wantAllFinal(rooms, 2*rooms)
}

// holding is what a process holds.
type holding struct {
	goroutines, descriptors int
	resident, cpu           float64 // MiB; seconds
}

func (p *program) holds() holding {
	p.t.Helper()
	dir := fmt.Sprintf("/proc/%d/", p.process.Cmd.Process.Pid)
	descriptors, err := os.ReadDir(dir + "fd")
	p.must(err)
	return holding{
		goroutines: int(p.metric("consilium_go_goroutines")), descriptors: len(descriptors),
		resident: p.metric("consilium_process_resident_memory_bytes") / (1 << 20), cpu: p.metric("consilium_process_cpu_seconds_total"),
	}
}

// rests returns what a process holds that has nothing to do but has had: a
// short call opens what is opened when it is first needed.
func (p *program) rests() (base holding) {
	p.t.Helper()
	first := p.publishes("first", "device")
	p.spooled(2)
	p.must(first.Delete(p.context(patience)))
	alike := 0 // looks in a row
	testserver.Eventually(p.t, patience, "a server that rests", func() bool {
		now := p.holds()
		if now.goroutines != base.goroutines || now.descriptors != base.descriptors {
			alike = 0
		}
		base = now
		alike++
		done := p.recordings()
		return alike >= 20 && len(done) == 1 && done[0].State == recorder.Final
	})
	return base
}

// Two rooms of 25 people who all send: five seconds, or an hour with a program
// that looks for data races.
func TestTwoRoomsOfTwentyFiveAreRecordedAndLeaveNothing(t *testing.T) {
	const rooms, people = 2, 25
	talk, binary := 5*time.Second, ""
	if *soak {
		talk, binary = time.Hour, buildProgram(t, "-race")
	} else {
		binary = buildProgram(t)
	}
	p := startProgram(t, binary, filepath.Join(t.TempDir(), "data"), map[string]string{
		"calls.max_participants": fmt.Sprint(people + 1), "calls.linger_clean": "100ms",
	})
	base := p.rests()
	var devices []*bot.HTTPSession
	for i := range rooms * people {
		devices = append(devices, p.publishes(fmt.Sprintf("room-%d", i%rooms), fmt.Sprintf("device-%02d", i)))
	}
	p.spooled(2 * rooms * people) // those of the first call are gone
	before, began := p.holds(), time.Now()
	timer := time.NewTimer(talk)
	defer timer.Stop()
	<-timer.C
	busy := p.holds()
	t.Logf("%d tracks: %.1f %% of a core, %.0f MiB, %d goroutines, %d descriptors; %.0f MiB at the begin of the time",
		2*rooms*people, 100*(busy.cpu-before.cpu)/time.Since(began).Seconds(), busy.resident, busy.goroutines, busy.descriptors, before.resident)
	ctx := p.context(patience)
	for _, d := range devices {
		p.must(d.Delete(ctx))
	}
	testserver.Eventually(t, 2*patience, "goroutines and descriptors given back", func() bool {
		now := p.holds()
		return now.goroutines <= base.goroutines && now.descriptors <= base.descriptors
	})
	p.process.Stop()
	p.wantAllFinal(1+rooms, 2+2*rooms*people*files(talk))
}

// files is how many a track has: a new one begins every hour.
func files(talk time.Duration) int { return 1 + int(talk/time.Hour) }
