package recorder

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/seal"
)

// testdata/spool-v1 holds data directories as the first version that had
// sealing left them when it was killed two seconds into a call: one open, one
// sealed to archive.key. A later version must finish both; the files are never
// made again.

func TestSpoolsOfTheFirstVersionAreRecovered(t *testing.T) {
	key := filepath.Join("testdata", "spool-v1", "archive.key")
	for name, sealer := range map[string]seal.Sealer{"open": nil, "sealed": newSealer(t, seal.AgeConfig{IdentityFile: key})} {
		for manifest, spoil := range map[string]func(string) error{
			"with its manifest": func(string) error { return nil }, "without": os.Remove,
		} {
			t.Run(name+" "+manifest, func(t *testing.T) {
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "spool-v1", name))); err != nil {
					t.Fatal(err)
				}
				if err := spoil(filepath.Join(dir, recordingsDir, testCall, manifestName)); err != nil {
					t.Fatal(err)
				}
				restartWith(t, dir, sealing(sealer))
				m, err := Show(dir, testCall)
				if err != nil || m.State != Recovered {
					t.Fatalf("manifest says %+v, %v", m, err)
				}
				for source, frames := range map[media.Source]int64{media.Microphone: 75, media.Camera: 22} {
					s := segmentOf(t, m, source)
					if s.State != Recovered || s.Participant != "anna" || s.Frames < frames || (s.Sealed != nil) != (sealer != nil) {
						t.Errorf("segment is %+v", s)
					}
					probe(t, opened(t, dir, s, sealer))
				}
			})
		}
	}
}

// opened writes a segment as it plays to a file and returns its name.
func opened(t *testing.T, dir string, s Segment, sealer seal.Sealer) string {
	t.Helper()
	media, err := OpenMedia(dir, testCall, s.File, sealer)
	if err != nil {
		t.Fatal(err)
	}
	defer media.Close()
	data, err := io.ReadAll(media)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), s.File)
	if err := os.WriteFile(name, data, fileMode); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestASpoolOfANewerVersionIsPutAsideWithWords(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"the manifest describes it": func(string) error { return nil }, "no manifest": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "spool-v1", "open"))); err != nil {
				t.Fatal(err)
			}
			if err := spoil(filepath.Join(dir, recordingsDir, testCall, manifestName)); err != nil {
				t.Fatal(err)
			}
			newer := spoolOfVersion(t, spoolVersion+1)
			spool := filepath.Join(dir, spoolDir, testCall, "p1-mic-1.webm")
			if err := os.WriteFile(spool, newer, fileMode); err != nil {
				t.Fatal(err)
			}
			s := restartSealed(t, dir, nil)
			kept, err := os.ReadFile(filepath.Join(dir, quarantineDir, testCall, "p1-mic-1.webm"))
			if err != nil || string(kept) != string(newer) {
				t.Errorf("kept aside are %d bytes, %v", len(kept), err)
			}
			failed := s.count(event.RecordingFailed)
			if len(failed) != 1 || !strings.Contains(failed[0].Data["reason"].(string), "version 2") {
				t.Errorf("events are %+v", failed)
			}
			if m, err := Show(dir, testCall); err != nil || segmentOf(t, m, media.Camera).State != Recovered {
				t.Errorf("the other file: %+v, %v", m, err)
			}
		})
	}
}

func spoolOfVersion(t *testing.T, version int) []byte {
	t.Helper()
	var buf memoryFile
	s, err := newSpool(&buf, spoolHeader{
		Version: version, Call: testCall, Format: format{Codec: media.Opus, TrackUID: 1},
		Segment: Segment{File: "p1-mic-1.webm", Participant: "anna", Source: media.Microphone, Codec: media.Opus, State: Live},
	})
	if err == nil {
		err = s.write(block{keyframe: true, data: opusSilence(960)})
	}
	if err == nil {
		err = s.close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestAKeyThatIsDamagedStopsNothingButItsOwnRecording(t *testing.T) {
	server, _ := archiveKey(t)
	sealer := newSealer(t, seal.AgeConfig{IdentityFile: server})
	dir := sealedCrash(t, sealer)
	rewrite(t, filepath.Join(dir, recordingsDir, testCall, keyName), func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	s := restartSealed(t, dir, sealer)
	if len(s.count(event.RecordingFailed)) != 2 || !spoolIn(dir) {
		t.Errorf("spool there: %t, events %+v", spoolIn(dir), s.events)
	}
	done, err := Repair(context.Background(), Config{Dir: dir, Sealer: sealer})
	if err != nil || len(done) != 1 || done[0].Problem == "" || !spoolIn(dir) {
		t.Errorf("Repair returned %+v, %v", done, err)
	}
}
