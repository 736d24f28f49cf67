package testmedia

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// encodedFile makes a WebM with ffmpeg, which is read as a recording is
// read.
func encodedFile(t *testing.T, args ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "clip.webm")
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", append(append([]string{"-v", "error"}, args...), name)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	return name
}

func TestNumbersOfPicturesAreReadBack(t *testing.T) {
	clip, err := NumberedPictures(t.Context(), 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if len(clip.Frames) != 4*NumberedFPS || !clip.Frames[NumberedFPS].Keyframe {
		t.Fatalf("%d frames, keyframe after a second: %v", len(clip.Frames), clip.Frames[NumberedFPS].Keyframe)
	}
	ivf := filepath.Join(t.TempDir(), "clip.ivf")
	if err := os.WriteFile(ivf, writeIVF(clip), 0o600); err != nil {
		t.Fatal(err)
	}
	marks, unreadable, err := ReadPictures(t.Context(), encodedFile(t, "-i", ivf, "-c", "copy"))
	if err != nil || unreadable > 0 || len(marks) != len(clip.Frames) {
		t.Fatalf("%d numbers of %d pictures, %d unreadable, %v", len(marks), len(clip.Frames), unreadable, err)
	}
	for i, m := range marks {
		if m.Number != i || (m.At-clip.Frames[i].At).Abs() > 2*time.Millisecond {
			t.Errorf("picture %d, due at %v, is read as %+v", i, clip.Frames[i].At, m)
		}
	}
}

func TestNumbersOfBeepsAreReadBack(t *testing.T) {
	const from = 1000 // where both tones are high
	raw := filepath.Join(t.TempDir(), "beeps.raw")
	if err := os.WriteFile(raw, drawBeeps(MaxNumberedBeeps)[from*2*4800:], 0o600); err != nil {
		t.Fatal(err)
	}
	file := encodedFile(t, "-f", "s16le", "-ar", "48000", "-ac", "1", "-i", raw, "-t", "5", "-c:a", "libopus", "-b:a", "48k")
	marks, err := ReadBeeps(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	heard := map[int]bool{}
	for _, m := range marks {
		heard[m.Number] = true
		// In a window across two beeps either may be the louder.
		if due := time.Duration(m.Number-from) * NumberedBeep; m.At < due-30*time.Millisecond || m.At > due+NumberedBeep+30*time.Millisecond {
			t.Errorf("beep %d, due at %v, heard at %v", m.Number, due, m.At)
		}
	}
	if len(heard) != 50 {
		t.Errorf("%d different beeps in 5 s, want 50", len(heard))
	}
}

func TestNothingIsReadFromWhatHasNoNumbers(t *testing.T) {
	file := encodedFile(t, "-f", "lavfi", "-i", "anullsrc=d=2", "-f", "lavfi", "-i", "color=black:size=320x180:rate=15:duration=2",
		"-c:a", "libopus", "-c:v", "libvpx")
	if marks, err := ReadBeeps(t.Context(), file); err != nil || len(marks) > 0 {
		t.Errorf("heard in silence: %v, %v", marks, err)
	}
	if marks, unreadable, err := ReadPictures(t.Context(), file); err != nil || len(marks) > 0 || unreadable != 30 {
		t.Errorf("seen in black: %v, %d unreadable, %v", marks, unreadable, err)
	}
	if _, _, err := ReadPictures(t.Context(), "no such file"); err == nil {
		t.Error("a file that is not there was decoded")
	}
}

func TestFlashAndBeepOfTheClipsAreFoundInStep(t *testing.T) {
	const clips = "../../testdata/media/"
	file := encodedFile(t, "-i", clips+"flash-320x180.ivf", "-i", clips+"beep.ogg", "-c", "copy")
	flashes, err := ReadFlashes(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	beeps, err := ReadBeepOnsets(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if len(flashes) != 9 || len(beeps) != 9 {
		t.Fatalf("%d flashes and %d beeps, want 9", len(flashes), len(beeps))
	}
	for i := range flashes {
		if offset := (flashes[i].At - beeps[i].At).Abs(); offset > 10*time.Millisecond {
			t.Errorf("flash %d is at %v, its beep at %v", i, flashes[i].At, beeps[i].At)
		}
	}
}

// writeIVF writes a clip as the file it was read from.
func writeIVF(c *Clip) []byte {
	out := append([]byte("DKIF"), 0, 0, 32, 0, 'V', 'P', '8', '0')
	out = binary.LittleEndian.AppendUint16(out, uint16(c.Width))
	out = binary.LittleEndian.AppendUint16(out, uint16(c.Height))
	out = binary.LittleEndian.AppendUint32(out, NumberedFPS)
	out = binary.LittleEndian.AppendUint32(out, 1)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(c.Frames)))
	for i, f := range c.Frames {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(f.Data)))
		out = binary.LittleEndian.AppendUint64(out, uint64(i))
		out = append(out, f.Data...)
	}
	return out
}
