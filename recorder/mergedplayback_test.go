package recorder

import (
	"fmt"
	"io"
	"os"
	"testing"

	"consilium/internal/browser"
	"consilium/internal/compose"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// exportAll puts a merged file, and the composed ones, of a call of 12 s with
// flashes and beeps beside the recording, and returns their names.
func exportAll(t *testing.T) (dir string, names []string) {
	t.Helper()
	dir = t.TempDir()
	mic, cam := micTrack("anna"), camTrack("anna")
	m := record(t, dir, map[*media.Track][]sent{
		&mic: newSource(t, testmedia.Beep).between(0, 12*second), &cam: newSource(t, testmedia.Flash).between(0, 12*second),
	})
	all, err := Merges(m, "anna", media.Camera, opener(dir))
	if err != nil {
		t.Fatal(err)
	}
	place := func(name string, write func(io.Writer) error) {
		if _, err := PlaceExport(dir, testCall, name, nil, write); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	place(all[0].Name, func(w io.Writer) error {
		_, err := all[0].Write(t.Context(), w, opener(dir))
		return err
	})
	c, err := compose.New(compose.Config{Width: 640, Height: 360})
	if err != nil {
		t.Fatal(err)
	}
	streams, err := Streams(m, opener(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []compose.Format{compose.WebM, compose.MP4} {
		job := composeJobOf(t, dir, streams, format)
		if err := c.Run(t.Context(), job, nil); err != nil {
			t.Fatal(err)
		}
		place(ComposedName(string(format)), func(w io.Writer) error {
			data, err := os.ReadFile(job.Output)
			if err == nil {
				_, err = w.Write(data)
			}
			return err
		})
	}
	return dir, names
}

func TestBrowsersPlayAndSeekWhatWasExported(t *testing.T) {
	dir, names := exportAll(t)
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			b := browser.Start(t, browser.Options{Kind: kind})
			p := b.NewPage(t, "exports", browser.PageOptions{Width: 400, Height: 300})
			p.Goto(player(t, dir) + "/")
			for _, name := range names {
				var got struct {
					Duration, Seekable float64
					Places             []struct{ Time, Light float64 }
				}
				times := []float64{9.56, 4.25, 6.56} // white from .5 to .6
				p.Eval(fmt.Sprintf("seek('/files/%s', [%v, %v, %v])", name, times[0], times[1], times[2]), &got)
				near(t, "duration of "+name, got.Duration, 12, 0.1)
				near(t, "seekable end of "+name, got.Seekable, 12, 0.1)
				for i, white := range []bool{true, false, true} {
					near(t, "seek in "+name, got.Places[i].Time, times[i], 0.05)
					if (got.Places[i].Light > 128) != white {
						t.Errorf("%s at %.2f s has light %.0f", name, times[i], got.Places[i].Light)
					}
				}
				var end float64
				p.Eval(fmt.Sprintf("playTail('/files/%s')", name), &end)
				near(t, "end of "+name, end, 12, 0.15)
			}
		})
	}
}
