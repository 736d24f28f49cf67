package recorder

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ballastName of a file whose only use is to be deleted: on a full disk it
// gives the space in which open files are closed, manifests written and the
// database goes on.
const ballastName = "ballast"

// keepBallast deletes the ballast when the disk is full, and puts it back when
// there is so much space that no call is refused for it. It belongs to the
// goroutine that measures. What it can't do it tries again the next time.
func (v *volume) keepBallast(s Space, kept uint64) {
	size := v.marks.ballast(s.Total)
	switch {
	case s.Level == LevelFull && kept > 0:
		_ = v.root.Remove(ballastName)
	case s.Level <= LevelLow && kept < size && s.Free > v.marks.bounds(s.Total)[LevelHard-1]:
		if err := v.writeBallast(size); err != nil {
			_ = v.root.Remove(ballastName)
		}
	}
}

// ballastSize is how large the ballast is now; 0: there is none.
func (v *volume) ballastSize() uint64 {
	info, err := v.root.Lstat(ballastName)
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return uint64(info.Size())
}

// writeBallast makes a file that really takes its size on the disk.
func (v *volume) writeBallast(size uint64) error {
	f, err := v.root.OpenFile(ballastName, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, int64(size))
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil
		zeros := make([]byte, 1<<20)
		for left := size; left > 0 && err == nil; {
			n := min(left, uint64(len(zeros)))
			_, err = f.Write(zeros[:n])
			left -= n
		}
	}
	return errors.Join(err, f.Close())
}
