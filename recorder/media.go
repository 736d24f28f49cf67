package recorder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"consilium/internal/seal"
)

// Media is a media file of a recording as it plays, whether it is sealed on the
// disk or not. It is for one goroutine.
type Media struct {
	io.ReadSeeker
	size     int64
	modified time.Time
	file     *os.File
}

// Size in bytes of what plays.
func (m *Media) Size() int64 { return m.size }

// Modified is when the file was made.
func (m *Media) Modified() time.Time { return m.modified }

// Close closes the file.
func (m *Media) Close() error { return m.file.Close() }

// OpenMedia opens a finished media file of a recording as it plays: name is
// Segment.File, and what is sealed is opened with sealer, which may be nil. The
// caller closes it. The error wraps fs.ErrNotExist as that of [Open] does, or
// seal.ErrNoIdentity if no key opens the file: who has the archive's opens that
// of the name with ".age" appended. Or it wraps seal.ErrDamaged.
func OpenMedia(dir, id, name string, sealer seal.Sealer) (*Media, error) {
	file, info, err := Open(dir, id, name)
	if err == nil {
		return &Media{ReadSeeker: file, size: info.Size(), modified: info.ModTime(), file: file}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || path.Ext(name) == sealedExtension {
		return nil, err
	}
	file, info, sealedErr := Open(dir, id, name+sealedExtension)
	if sealedErr != nil {
		return nil, err // of the name that was asked for
	}
	content, size, err := openSealed(dir, id, file, info.Size(), sealer)
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("recorder: file %s of recording %s: %w", name, id, err)
	}
	return &Media{ReadSeeker: io.NewSectionReader(content, 0, size), size: size, modified: info.ModTime(), file: file}, nil
}

// openSealed opens a sealed file with a key that lasts or, if that fails, with
// the recording's own.
func openSealed(dir, id string, file *os.File, size int64, sealer seal.Sealer) (io.ReaderAt, int64, error) {
	if sealer == nil {
		return nil, 0, seal.ErrNoIdentity
	}
	content, n, err := sealer.OpenFile(file, size)
	if !errors.Is(err, seal.ErrNoIdentity) {
		return content, n, err
	}
	root, openErr := openCall(dir, id)
	if openErr != nil {
		return nil, 0, openErr
	}
	defer root.Close()
	keys, keyErr := loadKeys(root, ".", sealer)
	if keyErr != nil {
		return nil, 0, keyErr
	}
	return sealer.OpenFile(file, size, keys...)
}
