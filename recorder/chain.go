package recorder

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"sync"
)

// chainName is the file, among the recordings, that lists the final manifests
// in the order in which they became final: a line each, "SHA256 CALL". Each
// manifest holds the hash of the one before it and is signed, so a line or a
// recording that is changed, taken out or put in shows. Only cutting the end
// off both does not; who must rule that out keeps a copy of the last line
// elsewhere.
const chainName = "chain"

var chainLine = regexp.MustCompile(`^([0-9a-f]{64}) ([A-Za-z0-9._~-]{1,128})$`)

// chain appends to the chain file. Its lock is held from reading the head to
// appending what follows it; it is taken before any lock of a book.
type chain struct {
	root  *os.Root
	step  func(name string) // as the recorder's
	mu    sync.Mutex
	head  string // hash of the last line; "" if there is none
	known bool   // that head is: not after a failed append
	wrong error  // a line that is none, in the middle: `recordings verify` names it
}

// link is a line of the chain.
type link struct{ sum, call string }

// openChain finds the end of the chain. A line that a crash tore is cut off:
// its manifest is not settled yet and comes again.
func openChain(root *os.Root, step func(string)) (*chain, error) {
	c := &chain{root: root, step: step}
	if err := c.find(); err != nil {
		return nil, err
	}
	return c, nil
}

// find makes the head known. The lock is held.
func (c *chain) find() error {
	if c.known {
		return nil
	}
	var whole int64
	c.head = ""
	err := readChain(c.root, func(l link, end int64) {
		c.head, whole = l.sum, end
	})
	switch {
	case errors.Is(err, errTornChain):
		err = truncate(c.root, path.Join(recordingsDir, chainName), whole)
	case errors.Is(err, errChainLine): // what comes must be recorded all the same
		c.wrong, err = err, nil
	}
	if err != nil {
		return fmt.Errorf("read chain of manifests: %w", err)
	}
	c.known = true
	return nil
}

var (
	// errTornChain says that the last line is not whole.
	errTornChain = errors.New("the last line is not whole")
	// errChainLine says that a line was changed.
	errChainLine = errors.New("not a line of a chain")
)

// readChain calls each for every line, with the place where it ends. It reads on
// behind a line that is none; the error then wraps errChainLine.
func readChain(root *os.Root, each func(l link, end int64)) error {
	f, err := root.Open(path.Join(recordingsDir, chainName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	var end int64
	var wrong error
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return wrong
		}
		if errors.Is(err, io.EOF) {
			return errTornChain
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		end += int64(len(line))
		parts := chainLine.FindSubmatch(bytes.TrimSuffix(line, []byte("\n")))
		if parts == nil {
			wrong = fmt.Errorf("line %d: %w", n, errChainLine)
			continue
		}
		each(link{string(parts[1]), string(parts[2])}, end)
	}
}

// append adds a manifest and makes that durable.
func (c *chain) append(sum, call string) error {
	c.known = false // until all of it is on the disk
	f, err := c.root.OpenFile(path.Join(recordingsDir, chainName), os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return fmt.Errorf("open chain of manifests: %w", err)
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = fmt.Fprintf(f, "%s %s\n", sum, call)
		if err != nil {
			_ = f.Truncate(end) // half a line must not get a neighbour
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = syncDir(c.root, recordingsDir)
	}
	if err != nil {
		return fmt.Errorf("append to chain of manifests: %w", err)
	}
	c.head, c.known = sum, true
	return nil
}

func truncate(root *os.Root, name string, size int64) error {
	f, err := root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// hexSum is the SHA-256 of data, in hex.
func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
