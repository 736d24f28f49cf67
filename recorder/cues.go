package recorder

// layout is where the clusters of a final file stand, known before the first
// of them is written. That lets the Cues stand in front.
type layout struct {
	audio    bool
	clusters []clusterPlan
	size     int64 // of all clusters

	blocks   int64
	firstMS  int64
	lastMS   int64
	lastStep int64 // ms between the last two blocks
	last     []byte
	dataSize int64
}

type clusterPlan struct {
	ms       int64 // timestamp
	body     int64 // bytes of its blocks
	keyframe bool  // it begins with one
	blocks   int
}

// begins reports whether b begins a new cluster: at every video keyframe, so
// that Cues can point at keyframes only, and often enough to seek.
func (l *layout) begins(b block) bool {
	if len(l.clusters) == 0 {
		return true
	}
	c := l.clusters[len(l.clusters)-1]
	age := b.ms - c.ms
	if l.audio {
		return age >= finalAudioCluster
	}
	return b.keyframe || age >= finalVideoCluster || c.body+int64(len(b.data)) > finalClusterBytes
}

// add takes the next block into the plan.
func (l *layout) add(b block) {
	if l.begins(b) {
		l.clusters = append(l.clusters, clusterPlan{ms: b.ms, keyframe: b.keyframe})
	}
	c := &l.clusters[len(l.clusters)-1]
	c.body += blockSize(len(b.data))
	c.blocks++
	if l.blocks == 0 {
		l.firstMS = b.ms
	} else {
		l.lastStep = b.ms - l.lastMS
	}
	l.lastMS, l.last = b.ms, b.data
	l.blocks++
	l.dataSize += int64(len(b.data))
}

// close sums up the sizes.
func (l *layout) close() {
	for _, c := range l.clusters {
		l.size += clusterSize(c.ms, c.body)
	}
}

// duration in ms, with the length of the last frame: exact for Opus, the last
// step for video, whose frames carry no length.
func (l *layout) duration() int64 {
	if l.blocks == 0 {
		return 0
	}
	if l.audio {
		return l.lastMS + (opusDuration(l.last)+47)/48
	}
	step := l.lastStep
	if step <= 0 {
		step = 33
	}
	return l.lastMS + min(step, maxLastFrame)
}

// cues points at the clusters one may start decoding at: those that begin with
// a video keyframe, and every audio cluster. first is the position of the
// first cluster, relative to the first byte inside the Segment.
func (l *layout) cues(first int64) cues {
	var c cues
	pos := first
	for _, p := range l.clusters {
		if l.audio || p.keyframe {
			c.CuePoint = append(c.CuePoint, cuePoint{
				CueTime:           uint64(p.ms),
				CueTrackPositions: cueTrackPosition{CueTrack: trackNumber, CueClusterPosition: uint64(pos)},
			})
		}
		pos += clusterSize(p.ms, p.body)
	}
	return c
}
