package recorder

import (
	"errors"
	"fmt"
	"io"

	"consilium/internal/media"
)

// Element ids inside Tracks (RFC 9559, 5.1.4).
const (
	idTrackEntry   = 0xAE
	idTrackUID     = 0x73C5
	idCodecID      = 0x86
	idCodecPrivate = 0x63A2
	idVideo        = 0xE0
	idPixelWidth   = 0xB0
	idPixelHeight  = 0xBA
)

// maxTracksElement bounds what is read of a file's description.
const maxTracksElement = 1 << 20

// formatsOf reads what the files of segments say about their tracks, by name.
func formatsOf(segments []Segment, open Opener) (map[string]format, error) {
	formats := make(map[string]format, len(segments))
	for _, s := range segments {
		file, err := open(s.File)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", s.File, err)
		}
		f, err := readFormat(file)
		_ = file.Close() // it was only read
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", s.File, err)
		}
		formats[s.File] = f
	}
	return formats, nil
}

// readFormat reads the description of the one track of a file.
func readFormat(src io.ReadSeeker) (format, error) {
	r, err := newBlockReader(src)
	if err != nil {
		return format{}, err
	}
	for {
		id, size, err := r.elementStart()
		switch {
		case errors.Is(err, io.EOF):
			return format{}, fmt.Errorf("%w: no track", ErrDamaged)
		case err != nil:
			return format{}, err
		case id == idSegment:
			continue // its children follow
		case id == idCluster || size < 0 || id == idTracks && size > maxTracksElement:
			return format{}, fmt.Errorf("%w: no track", ErrDamaged)
		case id == idTracks:
			return r.trackFormat(r.pos + size)
		}
		if err := r.skip(size); err != nil {
			return format{}, err
		}
	}
}

// trackFormat reads the children of Tracks, up to end.
func (b *blockReader) trackFormat(end int64) (format, error) {
	var f format
	for b.pos < end {
		id, size, err := b.elementStart()
		if err != nil {
			return format{}, err
		}
		if id == idTrackEntry || id == idVideo { // look inside
			continue
		}
		if size < 0 || size > end-b.pos {
			return format{}, ErrDamaged
		}
		value, err := b.read(size)
		if err != nil {
			return format{}, err
		}
		switch id {
		case idTrackUID:
			f.TrackUID = bigEndian(value)
		case idCodecID:
			f.Codec = codecOf(string(value))
		case idCodecPrivate:
			f.CodecPrivate = value
		case idPixelWidth:
			f.Width = int(bigEndian(value) & 0xFFFF)
		case idPixelHeight:
			f.Height = int(bigEndian(value) & 0xFFFF)
		}
	}
	if f.Codec == "" {
		return format{}, fmt.Errorf("%w: codec not known", ErrDamaged)
	}
	return f, nil
}

// codecOf is the codec of a Matroska CodecID; "" if it is none of ours.
func codecOf(id string) string {
	switch id {
	case "A_OPUS":
		return media.Opus
	case "V_VP8":
		return media.VP8
	case "V_VP9":
		return media.VP9
	case "V_AV1":
		return media.AV1
	case "V_MPEG4/ISO/AVC":
		return media.H264
	}
	return ""
}

// bigEndian reads an unsigned integer (RFC 8794, 7.2).
func bigEndian(b []byte) uint64 {
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}
