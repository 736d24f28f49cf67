package recorder

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrDamaged says that a file does not hold what it should at some place.
var ErrDamaged = errors.New("damaged")

// blockReader reads the blocks of a file of one track, a spool or a final one,
// from a source that may be cut or damaged at any byte. It never fails: where
// it can't go on it looks for the next cluster and says so. Memory is bounded
// by the largest block.
type blockReader struct {
	src    io.ReadSeeker
	r      *bufio.Reader
	pos    int64
	size   int64
	header *spoolHeader

	inCluster  bool
	clusterEnd int64
	clusterMS  int64

	// damage counts the places where something was skipped.
	damage int
	// damaged is set when the block just read follows damage.
	damaged bool
}

// newBlockReader reads the elements before the first cluster.
func newBlockReader(src io.ReadSeeker) (*blockReader, error) {
	size, err := src.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("find size: %w", err)
	}
	b := &blockReader{src: src, size: size, r: bufio.NewReaderSize(nil, 256<<10)}
	if err := b.seek(0); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *blockReader) seek(pos int64) error {
	if _, err := b.src.Seek(pos, io.SeekStart); err != nil {
		return fmt.Errorf("seek: %w", err)
	}
	b.r.Reset(b.src)
	b.pos = pos
	return nil
}

// next returns the next block. Its data are a copy. At the end of what can be
// read it returns io.EOF; any other error comes from the source.
func (b *blockReader) next() (block, error) {
	b.damaged = false
	for {
		start := b.pos
		blk, found, err := b.element()
		switch {
		case err == nil && found:
			return blk, nil
		case err == nil:
			continue
		case errors.Is(err, ErrDamaged):
			b.damage++
			b.damaged = true
			b.inCluster = false
			if err := b.resync(start + 1); err != nil {
				return block{}, err
			}
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			if start < b.size {
				b.damage++ // the last record is torn
			}
			return block{}, io.EOF
		default:
			return block{}, fmt.Errorf("read: %w", err)
		}
	}
}

// element reads one element; found is true when it was a block.
func (b *blockReader) element() (blk block, found bool, err error) {
	if b.inCluster && b.pos >= b.clusterEnd {
		b.inCluster = false
	}
	id, size, err := b.elementStart()
	if err != nil {
		return block{}, false, err
	}
	if id == idSegment && !b.inCluster { // its children follow
		return block{}, false, nil
	}
	end := b.pos + size
	if size == unknownSize || size < 0 || (b.inCluster && end > b.clusterEnd) {
		return block{}, false, ErrDamaged
	}
	if id == idCluster && !b.inCluster {
		// The last cluster may be torn: its whole blocks still count.
		b.inCluster, b.clusterEnd, b.clusterMS = true, end, -1
		return block{}, false, nil
	}
	if b.inCluster {
		return b.clusterChild(id, size)
	}
	return block{}, false, b.topLevel(id, size)
}

func (b *blockReader) topLevel(id uint32, size int64) error {
	switch id {
	case idTags:
		if size > maxSpoolHeaderSize || b.header != nil {
			return ErrDamaged
		}
		body, err := b.read(size)
		if err != nil {
			return err
		}
		b.header = parseSpoolTags(body)
		return nil
	case idEBML, idInfo, idTracks, idSeekHead, idCues, idVoid:
		return b.skip(size)
	}
	return ErrDamaged
}

func (b *blockReader) clusterChild(id uint32, size int64) (block, bool, error) {
	switch id {
	case idTimestamp:
		if size < 1 || size > 8 {
			return block{}, false, ErrDamaged
		}
		body, err := b.read(size)
		if err != nil {
			return block{}, false, err
		}
		var v uint64
		for _, c := range body {
			v = v<<8 | uint64(c)
		}
		if v > 1<<40 { // 34 years
			return block{}, false, ErrDamaged
		}
		b.clusterMS = int64(v)
		return block{}, false, nil
	case idSimpleBlock:
		if size < 5 || size > maxFrameSize+4 || b.clusterMS < 0 {
			return block{}, false, ErrDamaged
		}
		body, err := b.read(size)
		if err != nil {
			return block{}, false, err
		}
		if body[0] != 0x80|trackNumber || body[3]&0x06 != 0 { // one track, no lacing
			return block{}, false, ErrDamaged
		}
		ms := b.clusterMS + int64(int16(binary.BigEndian.Uint16(body[1:])))
		if ms < 0 {
			return block{}, false, ErrDamaged
		}
		return block{ms: ms, keyframe: body[3]&0x80 != 0, data: body[4:]}, true, nil
	case idVoid:
		return block{}, false, b.skip(size)
	}
	return block{}, false, ErrDamaged
}

// elementStart reads the id and the size of an element.
func (b *blockReader) elementStart() (id uint32, size int64, err error) {
	first, err := b.r.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	b.pos++
	length := vintLength(first)
	if length > 4 {
		return 0, 0, ErrDamaged
	}
	rest, err := b.read(int64(length - 1))
	if err != nil {
		return 0, 0, err
	}
	id = uint32(first)
	for _, c := range rest {
		id = id<<8 | uint32(c)
	}
	if first, err = b.r.ReadByte(); err != nil {
		return 0, 0, err
	}
	b.pos++
	length = vintLength(first)
	if length > 8 {
		return 0, 0, ErrDamaged
	}
	if rest, err = b.read(int64(length - 1)); err != nil {
		return 0, 0, err
	}
	size = int64(first) & (1<<(8-length) - 1)
	for _, c := range rest {
		size = size<<8 | int64(c)
	}
	return id, size, nil
}

// vintLength is the length of a variable-size integer by its first byte
// (RFC 8794, 4); 9 when there is none.
func vintLength(first byte) int {
	for i := range 8 {
		if first&(0x80>>i) != 0 {
			return i + 1
		}
	}
	return 9
}

func (b *blockReader) read(n int64) ([]byte, error) {
	if n > b.size-b.pos {
		// Not there: don't allocate for a size that is a lie. Inside the file
		// a wrong size is damage like any other, so look for what follows.
		return nil, ErrDamaged
	}
	body := make([]byte, n)
	got, err := io.ReadFull(b.r, body)
	b.pos += int64(got)
	return body, err
}

func (b *blockReader) skip(n int64) error {
	if n > b.size-b.pos {
		return ErrDamaged
	}
	if n <= int64(b.r.Buffered()) {
		got, err := b.r.Discard(int(n))
		b.pos += int64(got)
		return err
	}
	return b.seek(b.pos + n)
}

// resync looks for the next cluster from pos on.
func (b *blockReader) resync(pos int64) error {
	if err := b.seek(pos); err != nil {
		return err
	}
	id := binary.BigEndian.AppendUint32(nil, idCluster)
	for {
		window, err := b.r.Peek(64 << 10)
		if i := bytes.Index(window, id); i >= 0 {
			_, _ = b.r.Discard(i)
			b.pos += int64(i)
			return nil
		}
		if err != nil {
			b.pos = b.size
			if errors.Is(err, io.EOF) {
				return io.EOF
			}
			return fmt.Errorf("read: %w", err)
		}
		n, _ := b.r.Discard(len(window) - len(id) + 1)
		b.pos += int64(n)
	}
}

// parseSpoolTags finds the description in the Tags element; nil if there is
// none that can be read.
func parseSpoolTags(body []byte) *spoolHeader {
	r := &blockReader{src: bytes.NewReader(body), size: int64(len(body)), r: bufio.NewReader(bytes.NewReader(body))}
	var name string
	for {
		id, size, err := r.elementStart()
		if err != nil {
			return nil
		}
		if id == idTag || id == idSimpleTag { // look inside
			continue
		}
		value, err := r.read(size)
		if err != nil {
			return nil
		}
		switch id {
		case idTagName:
			name = string(value)
		case idTagString:
			if name != spoolTag {
				return nil
			}
			return parseSpoolDescription(string(value))
		}
	}
}
