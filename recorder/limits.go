package recorder

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"consilium/internal/event"
)

// Every bound of the recorder, in one place.
const (
	queueSize   = 2048 // packets between the forwarder and a track: 2 s of a fast screen
	reportQueue = 16   // sender reports and mutes
	reorderSize = 2048 // packets waiting for a missing one

	streamJump = 1 << 15 // in sequence numbers: another stream, not a loss
	maxPadding = 64      // sequence numbers in a row that may have been padding only

	startDelay = 200 * time.Millisecond // a packet older than the first may still come
	videoWait  = time.Second            // for a missing packet, by time: recording has no latency budget
	audioWait  = 500 * time.Millisecond

	keyframeRetry  = time.Second      // while waiting for a keyframe
	keyframePeriod = 10 * time.Second // bounds damage and gives seek points

	maxFrameSize = 8 << 20 // bytes of one frame
	maxGapFill   = 10 * time.Minute
	noteLoss     = 100 * time.Millisecond
	noteGap      = time.Second // shorter silences are counted, not listed
	maxGaps      = 1000        // listed for a segment
	maxEvents    = 10_000      // listed for a call
	maxTracks    = 2000        // of a call

	publishPeriod = 10 * time.Second // counters in the manifest are this old at most

	spoolRecord   = 500 * time.Millisecond // what a kill can lose
	spoolBytes    = 256 << 10
	reopenTries   = 5 // segments opened after a writer error, for a track
	reopenBackoff = 2 * time.Second

	maxBlockOffset     = 30_000 // ms inside a cluster; the field is an int16
	finalVideoCluster  = 5_000  // ms
	finalAudioCluster  = 2_000  // ms
	finalClusterBytes  = 4 << 20
	maxLastFrame       = 100 // ms a picture is shown when none follows
	segmentDuration    = time.Hour
	segmentBytes       = 1 << 30
	finaliseAtOnce     = 2
	maxManifestBytes   = 64 << 20
	defaultGrace       = 20 * time.Second
	saveTicks          = 5               // of syncInterval, between writes of a changed manifest
	freeManifest       = 64 << 10        // bytes: one no larger is written at each change
	manifestRate       = 128 << 10       // bytes/s, of a larger one that changes all the time
	longestPause       = 2 * time.Second // between two writes of it: a file is final 5 s after its end
	syncInterval       = 2 * time.Second // a power cut loses this much
	maxSpoolHeaderSize = 1 << 20
)

// Error is what Arm returns: why a call can't be recorded, with the code that
// callers pass on (RECORDER_FAILED or DISK_FULL).
type Error struct {
	Code event.Code
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("recorder: %v", e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// errDiskFull says that too little space is free to begin.
var errDiskFull = errors.New("disk is full")

// codeOf tells a full disk from every other failure.
func codeOf(err error) event.Code {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, errDiskFull) {
		return event.DiskFull
	}
	return event.RecorderFailed
}
