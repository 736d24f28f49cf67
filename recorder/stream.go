package recorder

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"consilium/internal/media"
)

// Stream is everything a participant sent from one source, on the time axis of
// the call: what a program that decodes, and composes one picture of a call,
// takes in. Timestamps are session time; sound begins at 0 and has no gap
// between segments.
type Stream struct {
	Number int // of the participant, in the manifest
	Source media.Source
	// Shown is when there is something, in order and apart.
	Shown []Interval

	clips  []clip
	format format
}

// Interval of session time, in ms.
type Interval struct{ FromMS, ToMS float64 }

// joinGap is how far apart two intervals are that count as one, in ms: the
// hourly change of files must not show.
const joinGap = 1000

// streamCluster is the longest cluster of a stream, in ms.
const streamCluster = 1000

// Streams returns the streams of a recording, by participant and source. A
// codec that changes begins another stream. open is asked for the beginning of
// files. The error wraps ErrNothing when there is none.
func Streams(m Manifest, open Opener) ([]Stream, error) {
	var streams []Stream
	for _, p := range m.Participants {
		for _, source := range []media.Source{media.Microphone, media.Camera, media.Screen} {
			var segments []Segment
			for _, s := range m.Segments {
				if s.Participant == p.Identity && s.Source == source && s.playable() {
					segments = append(segments, s)
				}
			}
			formats, err := formatsOf(segments, open)
			if err != nil {
				return nil, fmt.Errorf("streams: %w", err)
			}
			streams = append(streams, streamsOf(p.Number, source, segments, formats)...)
		}
	}
	if len(streams) == 0 {
		return nil, fmt.Errorf("streams: %w", ErrNothing)
	}
	return streams, nil
}

// streamsOf makes a stream for each codec of a source.
func streamsOf(number int, source media.Source, segments []Segment, formats map[string]format) []Stream {
	var streams []Stream
	for _, c := range clipsOf(segments, 0, maxSession) {
		f := formats[c.File]
		i := slices.IndexFunc(streams, func(s Stream) bool { return s.format.Codec == f.Codec })
		if i < 0 {
			i = len(streams)
			streams = append(streams, Stream{Number: number, Source: source, format: f})
		}
		s := &streams[i]
		s.clips = append(s.clips, c)
		if n := len(s.Shown); n > 0 && c.from-s.Shown[n-1].ToMS < joinGap {
			s.Shown[n-1].ToMS = c.to
		} else {
			s.Shown = append(s.Shown, Interval{c.from, c.to})
		}
	}
	return streams
}

// maxSession is beyond every call, in ms: 34 years.
const maxSession = 1 << 40

// Write writes the stream as WebM that is read from its beginning: without
// Duration and Cues. It holds no more than a cluster in memory.
func (s Stream) Write(ctx context.Context, w io.Writer, open Opener) error {
	head, err := streamHead(s.format)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	reader := clipReader{open: open, clips: slices.Clone(s.clips)}
	var blocks lane = &pictureLane{clipReader: reader}
	if s.format.audio() {
		blocks = &soundLane{clipReader: reader, stamped: true}
	}
	defer blocks.close()
	var cluster []block
	var size int64
	flush := func() error {
		if len(cluster) == 0 {
			return nil
		}
		out, err := appendCluster(nil, cluster)
		if err == nil {
			_, err = w.Write(out)
		}
		clear(cluster)
		cluster, size = cluster[:0], 0
		return err
	}
	for {
		b, err := blocks.next()
		if errors.Is(err, io.EOF) {
			return flush()
		}
		if err != nil {
			return err
		}
		if len(cluster) > 0 && (b.ms-cluster[0].ms >= streamCluster || size+int64(len(b.data)) > finalClusterBytes) {
			if err := flush(); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		cluster, size = append(cluster, b), size+int64(len(b.data))
	}
}

// streamHead returns what stands before the first cluster.
func streamHead(f format) ([]byte, error) {
	entry, err := f.tracks()
	if err != nil {
		return nil, err
	}
	out, err := marshal(&struct {
		EBML ebmlHeader `ebml:"EBML"`
	}{f.header()})
	if err != nil {
		return nil, err
	}
	body, err := marshal(&struct {
		Info   info   `ebml:"Info"`
		Tracks tracks `ebml:"Tracks"`
	}{info{TimestampScale: timestampScale, MuxingApp: muxingApp, WritingApp: muxingApp}, entry})
	if err != nil {
		return nil, err
	}
	out = binary.BigEndian.AppendUint32(out, idSegment)
	out = binary.BigEndian.AppendUint64(out, 1<<56|unknownSize)
	return append(out, body...), nil
}
