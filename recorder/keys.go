package recorder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"

	"consilium/internal/seal"
)

// sealedExtension ends the name of a sealed file on the disk.
const sealedExtension = ".age"

// The sealed keys of a recording lie beside it: key.age, and key-2.age and so
// on where a call went on after a restart of a server that has no private key
// and therefore can't open the first.
const keyName = "key.age"

var keyPattern = regexp.MustCompile(`^key(-[0-9]{1,4})?\.age$`)

// maxKeys of a recording and maxKeyBytes of one bound what is read.
const (
	maxKeys     = 1000
	maxKeyBytes = 64 << 10
)

// keyFiles lists the key files in a directory, the oldest first.
func keyFiles(root *os.Root, dir string) ([]string, error) {
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	var names []string
	for _, e := range entries {
		if keyPattern.MatchString(e.Name()) && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { return keyNumber(a) - keyNumber(b) })
	return names, nil
}

func keyNumber(name string) int {
	n := 1
	_, _ = fmt.Sscanf(name, "key-%d.age", &n)
	return n
}

// loadKeys opens the keys in a recording's directory. The error wraps
// seal.ErrNoIdentity if the sealer's private keys open none of them.
func loadKeys(root *os.Root, dir string, sealer seal.Sealer) ([]seal.Key, error) {
	names, err := keyFiles(root, dir)
	if err != nil {
		return nil, err
	}
	var keys []seal.Key
	first := fmt.Errorf("%w: the recording's key is gone", seal.ErrNoIdentity)
	for i, name := range names {
		sealed, err := readFile(root, path.Join(dir, name), maxKeyBytes)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		key, err := sealer.OpenKey(sealed)
		switch {
		case err == nil:
			keys = append(keys, key)
		case i == 0:
			first = fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(keys) == 0 {
		return nil, first
	}
	return keys, nil
}

// recordingKeys returns the keys of a recording, that to seal with first: one
// that is there, or a new one, which is on the disk before anything is sealed
// with it.
func recordingKeys(root *os.Root, dir string, sealer seal.Sealer) ([]seal.Key, error) {
	keys, err := loadKeys(root, dir, sealer)
	if err == nil {
		return keys, nil
	}
	if !errors.Is(err, seal.ErrNoIdentity) && !errors.Is(err, seal.ErrDamaged) {
		return nil, err
	}
	names, err := keyFiles(root, dir)
	if err != nil {
		return nil, err
	}
	name := keyName
	if n := len(names); n > 0 {
		if n >= maxKeys {
			return nil, fmt.Errorf("the recording has %d keys already", n)
		}
		name = fmt.Sprintf("key-%d.age", keyNumber(names[n-1])+1)
	}
	key, sealed, err := sealer.NewKey()
	if err != nil {
		return nil, err
	}
	if err := replaceFile(root, dir, name, sealed); err != nil {
		return nil, fmt.Errorf("keep the recording's key: %w", err)
	}
	return []seal.Key{key}, nil
}

// destroyKeys makes a recording's spools, and its files where they are sealed
// to its own key only, unreadable for ever, wherever copies of them are. The
// keys are overwritten first; a file system that never writes in place keeps
// the old bytes for a while.
func destroyKeys(root *os.Root, dir string) error {
	names, err := keyFiles(root, dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		name = path.Join(dir, name)
		f, err := root.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("destroy key: %w", err)
		}
		info, err := f.Stat()
		if err == nil {
			_, err = f.Write(make([]byte, info.Size()))
		}
		if err == nil {
			err = f.Sync()
		}
		if e := f.Close(); err == nil {
			err = e
		}
		if err == nil {
			err = root.Remove(name)
		}
		if err != nil {
			return fmt.Errorf("destroy key: %w", err)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return syncDir(root, dir)
}

// readFile reads a small file of ours whole.
func readFile(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("larger than %d bytes", limit)
	}
	return data, nil
}
