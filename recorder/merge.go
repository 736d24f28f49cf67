package recorder

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"consilium/internal/media"
)

// Merge is one file that holds sound and pictures of a participant, copied
// from the files of the recording without decoding. It is derived data: the
// evidence are the originals.
//
// File time is the microphone's own clock, because players count the samples
// of sound; pictures are put on it, with the drift between the two. A hole of
// up to ten minutes is filled with silence and the last picture stands; a
// longer one, and another codec, begin a new file.
type Merge struct {
	Name        string       // of the file: no personal data in it
	Participant string       // identity
	Source      media.Source // of the pictures
	T0MS        float64      // session time of file time 0

	sound, pictures []clip
	format          format // of the pictures
	soundUID        uint64
	software        string
}

// Merged says what Write wrote.
type Merged struct {
	DurationMS int64
	Blocks     int64
}

// ErrNothing says that there is nothing to export.
var ErrNothing = errors.New("nothing was recorded that could be exported")

// Merges plans the merged files of a participant with the pictures of a
// source, in order of time. open is asked for every file's beginning. The error
// wraps ErrNothing when the participant has no files, or shared no screen.
func Merges(m Manifest, participant string, source media.Source, open Opener) ([]Merge, error) {
	var sound, pictures []Segment
	number := 0
	for _, p := range m.Participants {
		if p.Identity == participant {
			number = p.Number
		}
	}
	for _, s := range m.Segments {
		switch {
		case s.Participant != participant || !s.playable():
		case s.Source == media.Microphone:
			sound = append(sound, s)
		case s.Source == source:
			pictures = append(pictures, s)
		}
	}
	// A shared screen that never was is no file; sound alone is one.
	if number == 0 || len(pictures) == 0 && (len(sound) == 0 || source == media.Screen) {
		return nil, fmt.Errorf("merge: %w", ErrNothing)
	}
	formats, err := formatsOf(slices.Concat(sound, pictures), open)
	if err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	var merges []Merge
	for _, w := range windows(sound, pictures, formats) {
		g := Merge{
			Participant: participant, Source: source, software: m.Software,
			sound: clipsOf(sound, w.from, w.to), pictures: clipsOf(pictures, w.from, w.to),
		}
		first := math.Inf(1)
		for _, c := range slices.Concat(g.sound, g.pictures) {
			first = min(first, c.from)
		}
		g.T0MS = math.Round(first*1000) / 1000
		extension := ".webm"
		if len(g.sound) > 0 {
			g.soundUID = formats[g.sound[0].File].TrackUID
		}
		if len(g.pictures) > 0 {
			g.format = formats[g.pictures[0].File]
			extension = g.format.extension()
		}
		g.Name = exportName(fmt.Sprintf("p%d-%s-merged", number, source), len(merges)+1, extension)
		merges = append(merges, g)
	}
	return merges, nil
}

// playable reports whether the segment has a file that can be read.
func (s *Segment) playable() bool { return s.State == Final || s.State == Recovered }

// window is a stretch of session time that one merged file covers.
type window struct{ from, to float64 }

// windows cuts the time of a participant into stretches for a file each.
func windows(sound, pictures []Segment, formats map[string]format) []window {
	all := slices.SortedStableFunc(slices.Values(slices.Concat(sound, pictures)), func(a, b Segment) int {
		return cmp.Compare(a.T0MS, b.T0MS)
	})
	var cuts []window
	end, last := math.Inf(-1), format{}
	for i, s := range all {
		f := formats[s.File]
		hole := s.T0MS-end > float64(maxGapFill.Milliseconds())
		other := s.Source != media.Microphone && last.Codec != "" && !last.continues(f)
		if i == 0 || hole || other {
			cuts = append(cuts, window{from: s.T0MS, to: math.Inf(1)})
		}
		if n := len(cuts); n > 1 && (hole || other) {
			cuts[n-2].to = s.T0MS
		}
		if s.Source != media.Microphone {
			last = f
		}
		end = max(end, s.end())
	}
	return cuts
}

// continues reports whether next can go on in a track of format f.
func (f format) continues(next format) bool {
	return f.Codec == next.Codec && slices.Equal(f.CodecPrivate, next.CodecPrivate)
}

// blocks returns the blocks of the file in order.
func (g *Merge) blocks(open Opener) *interleaver {
	a := newAxis(g.T0MS, g.sound)
	var lanes []lane
	if len(g.sound) > 0 {
		lanes = append(lanes, &soundLane{clipReader: clipReader{open: open, clips: g.sound}, axis: a, track: g.soundTrack()})
	}
	if len(g.pictures) > 0 {
		lanes = append(lanes, &pictureLane{clipReader: clipReader{open: open, clips: g.pictures}, axis: a, track: trackNumber})
	}
	return newInterleaver(lanes...)
}

// soundTrack is the number of the track of sound.
func (g *Merge) soundTrack() int64 {
	if len(g.pictures) == 0 {
		return trackNumber
	}
	return trackNumber + 1
}

// Write writes the file. It reads the originals twice, once to plan clusters
// and Cues and once to copy, and holds no more than a cluster in memory; the
// same originals give the same bytes.
func (g *Merge) Write(ctx context.Context, w io.Writer, open Opener) (Merged, error) {
	plan := &mergeLayout{pictures: len(g.pictures) > 0, soundTrack: g.soundTrack()}
	if err := g.plan(ctx, plan, open); err != nil {
		return Merged{}, fmt.Errorf("plan %s: %w", g.Name, err)
	}
	head, err := g.head(plan)
	if err != nil {
		return Merged{}, fmt.Errorf("write %s: %w", g.Name, err)
	}
	out := bufio.NewWriterSize(w, 256<<10)
	_, err = out.Write(head)
	blocks := g.blocks(open)
	defer blocks.close()
	for _, c := range plan.clusters {
		if err = cmp.Or(err, ctx.Err()); err != nil {
			break
		}
		err = copyCluster(out, blocks, c)
	}
	if err = cmp.Or(err, out.Flush()); err != nil {
		return Merged{}, fmt.Errorf("write %s: %w", g.Name, err)
	}
	return Merged{DurationMS: plan.duration(), Blocks: plan.blocks}, nil
}

// plan is the first pass.
func (g *Merge) plan(ctx context.Context, plan *mergeLayout, open Opener) error {
	blocks := g.blocks(open)
	defer blocks.close()
	for {
		b, err := blocks.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if plan.blocks%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		plan.add(b)
	}
	if plan.blocks == 0 {
		return ErrNothing
	}
	plan.close()
	return nil
}

// head returns everything before the first cluster.
func (g *Merge) head(plan *mergeLayout) ([]byte, error) {
	var entries tracks
	f := format{Codec: media.Opus}
	if plan.pictures {
		f = g.format
		pictures, err := f.tracks()
		if err != nil {
			return nil, err
		}
		entries = pictures
	}
	if len(g.sound) > 0 {
		sound, err := format{Codec: media.Opus, TrackUID: g.soundUID}.tracks()
		if err != nil {
			return nil, err
		}
		sound.TrackEntry[0].TrackNumber = uint64(plan.soundTrack)
		entries.TrackEntry = append(entries.TrackEntry, sound.TrackEntry...)
	}
	return seekableHead(f.header(), info{timestampScale, float64(plan.duration()), muxingApp, g.software},
		entries, plan.cues, plan.size)
}
