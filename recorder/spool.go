package recorder

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"consilium/internal/seal"
)

// spoolTag is the name of the tag that holds a spoolHeader.
const spoolTag = "CONSILIUM_SEGMENT"

// spoolHeader makes a spool self-contained: the finaliser needs nothing else.
type spoolHeader struct {
	Version int     `json:"version"`
	Call    string  `json:"call"`
	Room    string  `json:"room,omitempty"`
	Format  format  `json:"format"`
	Segment Segment `json:"segment"`
}

const spoolVersion = 1

// errVersion says that a newer program wrote a spool.
var errVersion = fmt.Errorf("%w or newer", ErrDamaged)

// known returns an error if this program can't tell what the spool holds.
func (h *spoolHeader) known() error {
	if h.Version != spoolVersion {
		return fmt.Errorf("%w: the spool is of version %d and this program knows version %d only", errVersion, h.Version, spoolVersion)
	}
	return nil
}

// parseSpoolDescription reads what marshalSpoolHeader wrote; nil if it is
// damaged.
func parseSpoolDescription(description string) *spoolHeader {
	sum, text, _ := strings.Cut(description, " ")
	if fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text))) != sum {
		return nil
	}
	var h spoolHeader
	if json.Unmarshal([]byte(text), &h) != nil {
		return nil
	}
	return &h
}

// errSpoolClosed is returned by a write after close or after a failed write.
var errSpoolClosed = errors.New("spool is closed")

// spoolFile is what a spool is written to.
type spoolFile interface {
	io.Writer
	io.Closer
	Sync() error
}

// spool appends blocks to a WebM file that can be cut at any byte: every
// record is one complete cluster of known size, handed over in one write. The
// block writer of ebml-go is not used: its goroutine blocks its caller for ever
// after an error. A spool belongs to one goroutine.
//
// The first error latches: the file may end in half a record, so nothing more
// is written to it.
type spool struct {
	file    spoolFile
	key     seal.Key // nil: not sealed; set before the first write
	header  []byte   // until written
	record  []byte   // written last, reused
	sealed  []byte   // the same, sealed
	pending []block
	bytes   int // of pending
	written int64
	err     error
}

func newSpool(file spoolFile, h spoolHeader) (*spool, error) {
	header, err := marshalSpoolHeader(h)
	if err != nil {
		return nil, err
	}
	return &spool{file: file, header: header}, nil
}

func marshalSpoolHeader(h spoolHeader) ([]byte, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("describe spool: %w", err)
	}
	// A flipped bit must not give a voice to somebody else.
	description := fmt.Sprintf("%08x %s", crc32.ChecksumIEEE(text), text)
	entry, err := h.Format.tracks()
	if err != nil {
		return nil, err
	}
	head := struct {
		EBML ebmlHeader `ebml:"EBML"`
	}{h.Format.header()}
	body := struct {
		Info   info   `ebml:"Info"`
		Tracks tracks `ebml:"Tracks"`
		Tags   tags   `ebml:"Tags"`
	}{
		Info:   info{TimestampScale: timestampScale, MuxingApp: muxingApp, WritingApp: h.Format.WritingApp},
		Tracks: entry,
		Tags:   tags{Tag: []tag{{SimpleTag: []simpleTag{{TagName: spoolTag, TagString: description}}}}},
	}
	b, err := marshal(&head)
	if err != nil {
		return nil, err
	}
	rest, err := marshal(&body)
	if err != nil {
		return nil, err
	}
	b = binary.BigEndian.AppendUint32(b, idSegment)
	b = binary.BigEndian.AppendUint64(b, 1<<56|unknownSize)
	return append(b, rest...), nil
}

// write takes a block, which must not be changed afterwards. Blocks come in
// order of time.
func (s *spool) write(b block) error {
	if s.err != nil {
		return s.err
	}
	if len(s.pending) > 0 {
		age := b.ms - s.pending[0].ms
		if age >= spoolRecord.Milliseconds() || s.bytes+len(b.data) > spoolBytes {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	s.pending = append(s.pending, b)
	s.bytes += len(b.data)
	return nil
}

// flush writes what is pending.
func (s *spool) flush() error {
	if s.err != nil || len(s.pending) == 0 {
		return s.err
	}
	// The header goes with the first record: no spool exists that holds a
	// header and no frame, unless the write was torn.
	record, err := appendCluster(append(s.record[:0], s.header...), s.pending)
	if err == nil {
		s.record = record
		if s.key != nil {
			record, err = appendSealed(s.sealed[:0], s.key, record)
			s.sealed = record
		}
	}
	if err == nil {
		var n int
		n, err = s.file.Write(record)
		s.written += int64(n)
		if err == nil && n < len(record) {
			err = io.ErrShortWrite
		}
	}
	s.header, s.bytes = nil, 0
	clear(s.pending)
	s.pending = s.pending[:0]
	if err != nil {
		s.err = fmt.Errorf("write spool: %w", err)
	}
	return s.err
}

// close flushes, syncs and closes the file. It may be called again. An error
// that write or flush returned already is not returned again.
func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	var err error
	if s.err == nil {
		err = s.flush()
	}
	if e := s.file.Sync(); err == nil && e != nil {
		err = fmt.Errorf("sync spool: %w", e)
	}
	if e := s.file.Close(); err == nil && e != nil {
		err = fmt.Errorf("close spool: %w", e)
	}
	s.file = nil
	if s.err == nil {
		s.err = errSpoolClosed
	}
	return err
}
