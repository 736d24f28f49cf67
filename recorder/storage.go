package recorder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"syscall"
)

// Directories under the data directory, and modes: medical data belong to
// nobody but the server's own account.
const (
	recordingsDir = "recordings"
	spoolDir      = "spool"
	quarantineDir = "quarantine"

	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600
)

var (
	callPattern = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}$`)
	filePattern = regexp.MustCompile(`^p[0-9]{1,6}-(mic|cam|screen)-[0-9]{1,6}\.(webm|mkv)(\.age)?$`)
)

// validCall reports whether a call id can be the name of a directory.
func validCall(id string) bool { return callPattern.MatchString(id) && id != chainName }

// validFileName reports whether name is one the recorder gives to files.
func validFileName(name string) bool { return filePattern.MatchString(name) }

func spoolPath(call, file string) string { return path.Join(spoolDir, call, file) }

// spoolName is the name of the spool of a file.
func spoolName(file string, sealed bool) string {
	if sealed {
		return file + sealedExtension
	}
	return file
}

// stem is the name of a media file without its endings.
func stem(file string) string {
	name, _, _ := strings.Cut(file, ".")
	return name
}

// tempName is the name under which a file is written before it appears.
func tempName(name string) string { return "." + name + ".tmp" }

// makeDir makes a directory, and its name durable.
func makeDir(root *os.Root, dir string) error {
	if err := root.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return syncDir(root, path.Dir(dir))
}

// createFile makes a file that is not there, or empties it.
func createFile(root *os.Root, name string) (spoolFile, error) {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return nil, fmt.Errorf("create file: %w", err)
	}
	return f, nil
}

// syncDir makes the names in a directory durable.
func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems can't
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// replaceFile puts data in place of a file in one step: whoever reads it,
// after whatever crash, finds the old content or the new.
func replaceFile(root *os.Root, dir, name string, data []byte) error {
	temp := path.Join(dir, tempName(name))
	f, err := root.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if errors.Is(err, fs.ErrNotExist) { // somebody removed the directory
		if err = root.MkdirAll(dir, dirMode); err == nil {
			f, err = root.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
		}
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = root.Rename(temp, path.Join(dir, name))
	}
	if err != nil {
		_ = root.Remove(temp)
		return fmt.Errorf("write %s: %w", name, err)
	}
	return syncDir(root, dir)
}
