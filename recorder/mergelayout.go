package recorder

// mergeLayout is where the clusters of a merged file stand, like layout.
type mergeLayout struct {
	pictures   bool
	soundTrack int64
	clusters   []clusterPlan
	size       int64 // of all clusters
	blocks     int64

	soundEnd    int64 // ms
	lastPicture int64
	lastStep    int64 // ms between the last two pictures
	seen        bool  // a picture
}

// begins reports whether b begins a new cluster: at every keyframe, so that
// Cues can point at keyframes only, and often enough to seek.
func (l *mergeLayout) begins(b block) bool {
	if len(l.clusters) == 0 {
		return true
	}
	c := l.clusters[len(l.clusters)-1]
	age := b.ms - c.ms
	if !l.pictures {
		return age >= finalAudioCluster
	}
	return l.keyframe(b) || age >= finalVideoCluster || c.body+int64(len(b.data)) > finalClusterBytes
}

// keyframe reports whether b is a picture that decoding can begin with.
func (l *mergeLayout) keyframe(b block) bool { return l.picture(b) && b.keyframe }

func (l *mergeLayout) picture(b block) bool { return l.pictures && b.track == trackNumber }

// add takes the next block into the plan.
func (l *mergeLayout) add(b block) {
	if l.begins(b) {
		l.clusters = append(l.clusters, clusterPlan{ms: b.ms, keyframe: l.keyframe(b)})
	}
	c := &l.clusters[len(l.clusters)-1]
	c.body += blockSize(len(b.data))
	c.blocks++
	l.blocks++
	if !l.picture(b) {
		l.soundEnd = max(l.soundEnd, b.ms+(opusDuration(b.data)+47)/48)
		return
	}
	if l.seen {
		l.lastStep = b.ms - l.lastPicture
	}
	l.seen, l.lastPicture = true, b.ms
}

// close sums up the sizes.
func (l *mergeLayout) close() {
	for _, c := range l.clusters {
		l.size += clusterSize(c.ms, c.body)
	}
}

// duration in ms, with the length of the last block.
func (l *mergeLayout) duration() int64 {
	if !l.seen {
		return l.soundEnd
	}
	step := l.lastStep
	if step <= 0 {
		step = 33
	}
	return max(l.soundEnd, l.lastPicture+min(step, maxLastFrame))
}

// cues points at the clusters that begin with a keyframe or, without pictures,
// at every one. first is the position of the first cluster, relative to the
// first byte inside the Segment.
func (l *mergeLayout) cues(first int64) cues {
	var c cues
	pos := first
	for _, p := range l.clusters {
		if !l.pictures || p.keyframe {
			c.CuePoint = append(c.CuePoint, cuePoint{
				CueTime:           uint64(p.ms),
				CueTrackPositions: cueTrackPosition{CueTrack: trackNumber, CueClusterPosition: uint64(pos)},
			})
		}
		pos += clusterSize(p.ms, p.body)
	}
	return c
}
