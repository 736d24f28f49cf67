package recorder

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"consilium/internal/seal"
)

// A sealed spool is a plain one whose every record is sealed by itself:
//
//	[length, 4 bytes, big-endian][sealed record] ...
//
// It can be cut at any byte like a plain one, and a damaged record costs
// nothing but itself.

const (
	recordLengthSize = 4
	// maxSealedRecord: a header and a record with one very large frame.
	maxSealedRecord = maxSpoolHeaderSize + spoolBytes + maxFrameSize + 1<<20
)

// spoolDamage stands in what openSealedSpool gives for what could not be
// opened. No element begins with a zero byte, so the reader sees damage there
// and looks for the next cluster.
const spoolDamage = 0

// appendSealed appends a record, sealed, to dst.
func appendSealed(dst []byte, key seal.Key, record []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, recordLengthSize)...)
	dst, err := key.SealRecord(dst, record)
	if err != nil {
		return dst, err
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-recordLengthSize))
	return dst, nil
}

// sealedRecord is where a record lies in the sealed and in the opened spool.
type sealedRecord struct {
	at, length  int64 // of the sealed record, without its length
	plain, size int64 // of what it holds
	damaged     bool  // spoolDamage follows what it holds
}

// sealedSpool reads a sealed spool as if it were a plain one. Memory is bounded
// by one record.
type sealedSpool struct {
	src     io.ReaderAt
	keys    []seal.Key
	records []sealedRecord
	size    int64

	pos     int64
	index   int // of the record in content
	content []byte
}

// openSealedSpool opens every record once. The error wraps seal.ErrNoIdentity if
// none of the keys opens any.
func openSealedSpool(src io.ReaderAt, size int64, keys []seal.Key) (*sealedSpool, error) {
	if len(keys) == 0 {
		return nil, seal.ErrNoIdentity
	}
	s := &sealedSpool{src: src, keys: keys, index: -1}
	opened, foreign := 0, 0
	for at := int64(0); at < size; {
		start, end, err := s.find(at, size)
		if err != nil {
			return nil, err
		}
		content, err := s.open(start, end-start)
		if err != nil && !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrNoIdentity) {
			return nil, err // the disk's
		}
		r := sealedRecord{
			at: start, length: end - start, plain: s.size, size: int64(len(content)),
			damaged: err != nil || start != at+recordLengthSize,
		}
		switch {
		case err == nil:
			opened++
		case errors.Is(err, seal.ErrNoIdentity):
			foreign++
		}
		s.size += r.size
		if r.damaged {
			s.size++
		}
		s.records = append(s.records, r)
		at = end
	}
	if opened == 0 && foreign > 0 {
		return nil, seal.ErrNoIdentity
	}
	return s, nil
}

// find returns where the next sealed record at or after at begins and ends. Of
// a length that leads nowhere the next record's beginning is the better word.
func (s *sealedSpool) find(at, size int64) (start, end int64, err error) {
	start = at + recordLengthSize
	if start >= size {
		return size, size, nil
	}
	length := make([]byte, recordLengthSize)
	if _, err := s.src.ReadAt(length, at); err != nil {
		return 0, 0, fmt.Errorf("read: %w", err)
	}
	end = start + int64(binary.BigEndian.Uint32(length))
	if end == size || end < size && s.marked(end+recordLengthSize) {
		return start, end, nil
	}
	next, err := s.search(start+1, min(size, start+2*maxSealedRecord))
	if err != nil {
		return 0, 0, err
	}
	if next < 0 {
		return start, min(size, start+2*maxSealedRecord), nil
	}
	return start, next - recordLengthSize, nil
}

// marked reports whether a sealed record begins at a place.
func (s *sealedSpool) marked(at int64) bool {
	marker := s.keys[0].Marker()
	found := make([]byte, len(marker))
	n, _ := s.src.ReadAt(found, at)
	return n > 0 && bytes.HasPrefix(marker, found[:n]) // the last may be torn
}

// search looks for the beginning of a sealed record; -1 if there is none.
func (s *sealedSpool) search(from, to int64) (int64, error) {
	marker := s.keys[0].Marker()
	window := make([]byte, 256<<10)
	for from < to {
		n, err := s.src.ReadAt(window[:min(int64(len(window)), to-from)], from)
		if i := bytes.Index(window[:n], marker); i >= recordLengthSize {
			return from + int64(i), nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("read: %w", err)
		}
		if n < len(window) {
			return -1, nil
		}
		from += int64(n - len(marker) - recordLengthSize)
	}
	return -1, nil
}

// open opens a record; of a damaged one it returns what is authentic.
func (s *sealedSpool) open(at, length int64) ([]byte, error) {
	if length <= 0 || length > 2*maxSealedRecord {
		return nil, seal.ErrDamaged
	}
	sealed := make([]byte, length)
	if _, err := s.src.ReadAt(sealed, at); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	err := error(seal.ErrDamaged)
	for _, key := range s.keys {
		var content []byte
		content, err = key.OpenRecord(sealed)
		if !errors.Is(err, seal.ErrNoIdentity) {
			return content, err
		}
	}
	if !bytes.HasPrefix(sealed, s.keys[0].Marker()) {
		return nil, seal.ErrDamaged
	}
	return nil, err
}

// Read implements [io.Reader].
func (s *sealedSpool) Read(p []byte) (int, error) {
	if s.pos >= s.size {
		return 0, io.EOF
	}
	if err := s.load(); err != nil {
		return 0, err
	}
	n := copy(p, s.content[s.pos-s.records[s.index].plain:])
	s.pos += int64(n)
	return n, nil
}

// load makes content hold the record at pos.
func (s *sealedSpool) load() error {
	holds := func(i int) bool {
		r := s.records[i]
		end := r.plain + r.size
		if r.damaged {
			end++
		}
		return s.pos >= r.plain && s.pos < end
	}
	if s.index >= 0 && holds(s.index) {
		return nil
	}
	i := max(s.index, 0)
	if s.index < 0 || s.pos < s.records[i].plain {
		i = 0
	}
	for !holds(i) {
		i++
	}
	r := s.records[i]
	content, err := s.open(r.at, r.length)
	if int64(len(content)) != r.size {
		return fmt.Errorf("the spool changed while it was read: %w", errors.Join(ErrDamaged, err))
	}
	if r.damaged {
		content = append(content, spoolDamage)
	}
	s.index, s.content = i, content
	return nil
}

// Seek implements [io.Seeker].
func (s *sealedSpool) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	s.pos = offset
	return offset, nil
}
