package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/pion/rtp"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/seal"
	"consilium/internal/server"
	"consilium/internal/testmedia"
	"consilium/recorder"
)

// recordedCall makes a data directory with one sealed call of two seconds, and
// the file with the archive's private key. stop is called at its end, with the
// call still open.
func recordedCall(t *testing.T, stop func(dir string)) (dir, key string) {
	t.Helper()
	archive, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir, key = t.TempDir(), filepath.Join(t.TempDir(), "archive.key")
	if err := os.WriteFile(key, []byte(archive.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.NewAge(seal.AgeConfig{Recipients: []string{archive.Recipient().String()}})
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	r, err := recorder.New(recorder.Config{Dir: dir, Sealer: sealer, Version: "test", Events: event.Func(func(e event.Event) {
		if e.Type == event.RecordingReady {
			close(ready)
		}
	})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	begin := time.Now().Add(-3 * time.Second)
	call, err := r.Arm(ctx, media.Call{ID: "c_1", Room: "visit-1", Started: begin})
	if err != nil {
		t.Fatal(err)
	}
	clip, err := testmedia.Beep()
	if err != nil {
		t.Fatal(err)
	}
	sink := call.Track(media.Track{
		ID: "t_1", Call: "c_1", Participant: "anna", Role: "patient", Session: "s_1",
		Kind: media.Audio, Source: media.Microphone, Codec: media.Opus, ClockRate: 48000, Channels: 2,
	}, nil)
	for i, f := range clip.Frames[:100] {
		p := media.NewPacket(nil)
		p.Header = rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: uint32(i) * 960}
		p.Payload, p.Sequence, p.Arrival = f.Data, int64(1<<16+i), begin.Add(f.At)
		sink.WritePacket(p)
	}
	if stop != nil {
		stop(dir)
	}
	sink.End(media.EndLeft, time.Now())
	call.End(time.Now())
	<-ready
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return dir, key
}

func TestASealedRecordingIsVerifiedShownAndExported(t *testing.T) {
	dir, key := recordedCall(t, nil)
	if out := ran(t, "recordings", "show", "c_1", "--data", dir); !strings.Contains(out, "final, sealed") || !strings.Contains(out, "signed") {
		t.Errorf("show says\n%s", out)
	}
	fingerprint := strings.TrimSpace(ran(t, "recordings", "key", "--data", dir)[strings.Index(ran(t, "recordings", "key", "--data", dir), "fingerprint:")+12:])
	out := ran(t, "recordings", "verify", "--data", dir, "--identity", key, "--key", fingerprint)
	if !strings.Contains(out, "1 recordings, 1 files") || !strings.Contains(out, "1 sealed files opened") || !strings.Contains(out, fingerprint) {
		t.Errorf("verify says\n%s", out)
	}
	if r := consilium(t, nil, "recordings", "verify", "--data", dir, "--key", strings.Repeat("0", 64)); r.code != exitFailed || !strings.Contains(r.stdout, "signed by another key") {
		t.Errorf("another key is trusted: %+v", r)
	}
	open, sealed := filepath.Join(t.TempDir(), "open"), filepath.Join(t.TempDir(), "sealed")
	ran(t, "recordings", "export", "c_1", "--data", dir, "--identity", key, "--out", open)
	ran(t, "recordings", "export", "c_1", "--data", dir, "--out", sealed)
	plain, err := os.ReadFile(filepath.Join(open, "p1-mic-1.webm"))
	if err != nil || string(plain[:4]) != "\x1a\x45\xdf\xa3" {
		t.Errorf("exported %d bytes, %v", len(plain), err)
	}
	stock, err := exec.Command("age", "-d", "-i", key, filepath.Join(sealed, "p1-mic-1.webm.age")).Output()
	if err != nil || string(stock) != string(plain) {
		t.Errorf("age opens %d bytes of the sealed export, %v (Debian package age)", len(stock), err)
	}
	if out := ran(t, "audit", "--data", dir); strings.Count(out, "recording.exported") != 2 || strings.Count(out, "recording.verified") != 2 {
		t.Errorf("the audit log says\n%s", out)
	}
}

func TestMergedFilesAreExportedBesideTheOriginals(t *testing.T) {
	dir, key := recordedCall(t, nil)
	out := filepath.Join(t.TempDir(), "out")
	said := ran(t, "recordings", "export", "c_1", "--merged", "--data", dir, "--identity", key, "--out", out)
	data, err := os.ReadFile(filepath.Join(out, "p1-cam-merged-1.webm"))
	if err != nil || string(data[:4]) != "\x1a\x45\xdf\xa3" || !strings.Contains(said, "p1-cam-merged-1.webm") {
		t.Errorf("%d bytes, %v; export says\n%s", len(data), err, said)
	}
	if r := consilium(t, nil, "recordings", "export", "c_1", "--merged", "--data", dir, "--out", t.TempDir()); r.code != exitFailed || !strings.Contains(r.stderr, "--identity") {
		t.Errorf("a sealed recording is merged without a key: %+v", r)
	}
}

func TestVerifyNamesADamagedFileAndFails(t *testing.T) {
	dir, _ := recordedCall(t, nil)
	name := filepath.Join(dir, "recordings", "c_1", "p1-mic-1.webm.age")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r := consilium(t, nil, "recordings", "verify", "c_1", "--data", dir)
	if r.code != exitFailed || !strings.Contains(r.stdout, "WRONG  c_1/p1-mic-1.webm.age: its SHA-256 is ") {
		t.Errorf("%+v", r)
	}
}

func TestACrashedSealedCallIsRepairedOffline(t *testing.T) {
	crashed := t.TempDir()
	_, key := recordedCall(t, func(dir string) {
		// The recorder writes half a second after the packets came.
		for len(spools(t, dir)) == 0 {
			<-time.After(10 * time.Millisecond)
		}
		if err := os.CopyFS(crashed, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	})
	if r := consilium(t, nil, "recordings", "repair", "--data", crashed); r.code != exitFailed || !strings.Contains(r.stdout, "--identity FILE") {
		t.Errorf("without a key: %+v", r)
	}
	if out := ran(t, "recordings", "show", "c_1", "--data", crashed); !strings.Contains(out, "locked") {
		t.Errorf("show says\n%s", out)
	}
	unlock, err := server.LockData(crashed)
	if err != nil {
		t.Fatal(err)
	}
	if r := consilium(t, nil, "recordings", "repair", "--data", crashed, "--identity", key); r.code != exitFailed || !strings.Contains(r.stderr, "in use") {
		t.Errorf("beside a server: %+v", r)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if out := ran(t, "recordings", "repair", "--data", crashed, "--identity", key); !strings.Contains(out, "c_1  recovered") {
		t.Errorf("repair says\n%s", out)
	}
	if out := ran(t, "audit", "--data", crashed); !strings.Contains(out, "recording.repaired") {
		t.Errorf("the audit log does not tell of the repair:\n%s", out)
	}
	if out := ran(t, "recordings", "repair", "--data", crashed, "--identity", key); !strings.Contains(out, "nothing was left") {
		t.Errorf("the second repair says\n%s", out)
	}
	if out := ran(t, "recordings", "verify", "--data", crashed, "--identity", key); !strings.Contains(out, "1 sealed files opened") {
		t.Errorf("verify says\n%s", out)
	}
}

// spools lists spools that have something in them.
func spools(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "spool", "c_1", "*.age"))
	if err != nil {
		t.Fatal(err)
	}
	var full []string
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.Size() > 0 {
			full = append(full, name)
		}
	}
	return full
}
