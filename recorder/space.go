package recorder

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"consilium/internal/media"
)

// Level says how much space the disk of the recordings has left. Levels rise
// as space falls, so that they can be compared.
type Level int

// Levels.
const (
	// LevelOK is more than every mark.
	LevelOK Level = iota
	// LevelLow is an alarm, and the time for whatever makes space: nothing is
	// composed any more, uploads hurry.
	LevelLow
	// LevelHard takes no more calls: what is left is for those that run.
	LevelHard
	// LevelCritical records sound only.
	LevelCritical
	// LevelFull records nothing: the ballast is given up, for files to be
	// closed and the database to go on.
	LevelFull
)

// String returns the word of events and metrics.
func (l Level) String() string {
	return [...]string{"ok", "low", "hard", "critical", "full"}[l]
}

// Levels returns every level, the best first.
func Levels() []Level { return []Level{LevelOK, LevelLow, LevelHard, LevelCritical, LevelFull} }

// Mark is an amount of free space, in bytes or as a share of the file system.
// The zero value is below every amount: nothing is ever less.
type Mark struct {
	Bytes   uint64
	Percent float64 // 0 to 100
}

func (m Mark) of(total uint64) uint64 {
	if m.Percent > 0 {
		return uint64(float64(total) * m.Percent / 100)
	}
	return m.Bytes
}

// Marks say from where on space is short. Low counts as Hard at least,
// Critical as Hard at most.
type Marks struct {
	Low, Hard Mark
	// Critical as a share is 2 GiB at most: on a large disk a hundredth of it
	// would be hours of recording.
	Critical Mark
	// Ballast is how large a file is kept to be deleted when the disk is full;
	// on a small disk it is at most a 64th of it. 0: there is none.
	Ballast uint64
}

const (
	criticalMost   = 2 << 30
	ballastShare   = 64 // of the disk, at most
	fullShare      = 8  // of Critical: nothing is recorded below
	hysteresisPart = 10 // of a mark, above which space must rise for the level to fall
)

// bounds returns the free space below which each level begins, LevelLow first.
func (m Marks) bounds(total uint64) [LevelFull]uint64 {
	critical := m.Critical.of(total)
	if m.Critical.Percent > 0 {
		critical = min(critical, criticalMost)
	}
	hard := m.Hard.of(total)
	critical = min(critical, hard)
	return [LevelFull]uint64{max(m.Low.of(total), hard), hard, critical, critical / fullShare}
}

// level returns the level at so much free space; last is the one before. A
// level falls only when space is clearly above its mark.
func (m Marks) level(free, total uint64, last Level) Level {
	level := LevelOK
	for i, bound := range m.bounds(total) {
		l := Level(i + 1)
		if l <= last {
			bound += bound / hysteresisPart
		}
		if free < bound {
			level = l
		}
	}
	return level
}

// ballast returns how large the ballast is on a disk of this size.
func (m Marks) ballast(total uint64) uint64 { return min(m.Ballast, total/ballastShare) }

// Space is what is known of the disk of the recordings.
type Space struct {
	Level Level
	// Free is what recordings may still take, in bytes: the ballast is not
	// among it, there or not. Total is the size of the file system.
	Free, Total uint64
	// Err says why the disk can't be written to; nil: it can.
	Err error
	// Measured is when this was found out; zero: not yet.
	Measured time.Time
	// Stalled says that the disk has not answered for 10 s.
	Stalled bool
}

// records reports whether a medium is recorded: the ladder's steps.
func (s Space) records(k media.Kind) bool {
	switch {
	case s.Level >= LevelFull:
		return false
	case s.Level >= LevelCritical:
		return k == media.Audio
	default:
		return true
	}
}

// words says what is wrong; "" if nothing is.
func (s Space) words() string {
	switch {
	case s.Err != nil:
		return "the disk can't be written to: " + reason(s.Err)
	case s.Stalled:
		return "the disk does not answer"
	case s.Level == LevelFull:
		return "disk is full: nothing is recorded"
	case s.Level == LevelCritical:
		return "disk is nearly full: only sound is recorded"
	case s.Level == LevelHard:
		return "disk is nearly full: no call can begin"
	case s.Level == LevelLow:
		return "disk is filling up"
	default:
		return ""
	}
}

// statfs returns the bytes a process without privileges may still write, and
// the size of the file system of the open directory: not of what may have been
// mounted in its place.
func statfs(root *os.Root) (free, total uint64, err error) {
	dir, err := root.Open(".")
	if err != nil {
		return 0, 0, fmt.Errorf("ask for free space: %w", err)
	}
	defer dir.Close()
	var s syscall.Statfs_t
	if err := syscall.Fstatfs(int(dir.Fd()), &s); err != nil {
		return 0, 0, fmt.Errorf("ask for free space: %w", err)
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}
