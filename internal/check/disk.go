package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"consilium/internal/config"
	"consilium/internal/seal"
)

// slowSync is more than a disk should take to keep a small file.
const slowSync = 100 * time.Millisecond

// disk looks at the data directory.
func (c *checker) disk() []Finding {
	dir, made, err := existing(c.cfg.Data)
	if err != nil {
		return []Finding{failure("data", err.Error(), "make the directory and give it to the user of the service")}
	}
	findings := []Finding{writable(dir, c.cfg.Data, made)}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return append(findings, failure("disk", fmt.Sprintf("%s: %v", dir, err), "choose another directory"))
	}
	total, free := s.Blocks*uint64(s.Bsize), s.Bavail*uint64(s.Bsize)
	findings = append(findings, judgeFilesystem(int64(s.Type)))
	findings = append(findings, judgeSpace(free, total, c.cfg.Recording))
	return append(findings, judgeSealing(c.cfg))
}

// existing returns the directory, or the one above in which a start would make
// it.
func existing(dir string) (found string, made bool, err error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", dir, err)
	}
	for at := absolute; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
		case err != nil:
			return "", false, err // it names the path
		case !info.IsDir():
			return "", false, fmt.Errorf("%s is a file", at)
		default:
			return at, at == absolute, nil
		}
	}
}

// writable writes a small file and measures how long the disk takes to keep it.
func writable(dir, data string, made bool) Finding {
	const check = "data"
	begun := time.Now()
	if err := keep(dir); err != nil {
		return failure(check, fmt.Sprintf("%s can't be written to: %v", dir, err), "give it to the user of the service: chown, and ReadWritePaths= in the systemd unit")
	}
	return judgeKept(dir, data, made, time.Since(begun).Round(100*time.Microsecond))
}

// judgeKept judges a disk that took so long to keep a small file.
func judgeKept(dir, data string, made bool, took time.Duration) Finding {
	const check = "data"
	words := fmt.Sprintf("%s can be written to; a file is safe after %v", data, took)
	if !made {
		words = fmt.Sprintf("%s will be made in %s; a file is safe after %v", data, dir, took)
	}
	if took > slowSync {
		return warning(check, words, "use a faster disk: recordings are synchronised while calls run")
	}
	return ok(check, words)
}

func keep(dir string) error {
	f, err := os.CreateTemp(dir, ".consilium-check-*")
	if err != nil {
		return err // it names the path
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// judgeFilesystem knows the kinds that are no place for recordings (statfs(2)).
func judgeFilesystem(kind int64) Finding {
	const check = "filesystem"
	switch kind {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return warning(check, "the data directory is in memory: recordings are gone with a restart", "choose a directory on a disk")
	case unix.OVERLAYFS_SUPER_MAGIC:
		return warning(check, "the data directory is in a container's own layer: recordings are gone with the container", "mount a volume there")
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return warning(check, "the data directory is on another machine: the database and recordings wait for the network", "choose a local disk, and copy finished recordings away")
	default:
		return ok(check, fmt.Sprintf("local, type %#x", kind))
	}
}

// judgeSpace compares what is free with recording.min_free.
func judgeSpace(free, total uint64, r config.Recording) Finding {
	const check = "disk"
	words := gibibytes(free) + " of " + gibibytes(total) + " free"
	if !r.Enabled {
		return ok(check, words+"; nothing is recorded")
	}
	least := uint64(r.MinFree.Bytes)
	if r.MinFree.Percent > 0 {
		least = uint64(float64(total) * r.MinFree.Percent / 100)
	}
	words += ", recording.min_free is " + r.MinFree.String()
	switch {
	case free < least:
		return failure(check, words+": no recording starts", "free some space, use a larger disk, or lower recording.min_free")
	case free < 2*least:
		return warning(check, words, "free some space soon: below that no recording starts")
	default:
		return ok(check, words)
	}
}

func gibibytes(n uint64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

// judgeSealing says what somebody has who takes the disk.
func judgeSealing(c config.Config) Finding {
	const check = "sealing"
	_, err := seal.NewAge(seal.AgeConfig{IdentityFile: c.Recording.ServerKeyFile})
	switch {
	case !c.Recording.Enabled:
		return ok(check, "nothing is recorded")
	case !c.Recording.Sealed():
		return warning(check, "recordings are not sealed: whoever takes the disk or a backup sees and hears them",
			"make a pair with age-keygen on another machine and set recording.recipients to its public key")
	case err != nil:
		return failure(check, "recording.server_key_file: "+err.Error(), "make one with age-keygen, readable by the user of the service")
	case c.ServerKeyInData():
		return warning(check, "recording.server_key_file lies in the data directory, with what it opens", "keep it on another disk")
	case len(c.Recording.Recipients) == 0:
		return warning(check, "recordings are sealed to the server's own key only: without that file nobody ever opens them",
			"set recording.recipients to the public key of an archive kept elsewhere")
	default:
		return ok(check, fmt.Sprintf("recordings are sealed to %d public keys; played from this server: %t",
			len(c.Recording.Recipients), c.Recording.ServerKeyFile != ""))
	}
}
