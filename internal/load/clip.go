package load

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// What cameras send: 25 pictures a second, every 75th a keyframe of the size of
// six others. The content is noise behind valid headers: nobody decodes it.
const (
	frameRate    = 25
	clipFrames   = 75
	keyframeSize = 6 // of other frames
	opusInterval = 20 * time.Millisecond
)

// clips are what everybody publishes.
func clips(cfg Config) map[media.Source]*testmedia.Clip {
	all := map[media.Source]*testmedia.Clip{}
	if cfg.Video > 0 {
		all[media.Camera] = camera(cfg.Video)
	}
	if cfg.Audio > 0 {
		all[media.Microphone] = microphone(cfg.Audio)
	}
	return all
}

// camera makes a clip of a bit rate in kbit/s.
func camera(bitrate int) *testmedia.Clip {
	clip := &testmedia.Clip{
		MimeType: testmedia.MimeVP8, ClockRate: testmedia.ClockVP8, Width: 640, Height: 360,
		Duration: clipFrames * time.Second / frameRate,
	}
	share := bitrate * 1000 / 8 * clipFrames / frameRate / (clipFrames - 1 + keyframeSize)
	noise := rand.NewChaCha8([32]byte{})
	for i := range clipFrames {
		size := share
		if i == 0 {
			size *= keyframeSize
		}
		frame := testmedia.Frame{At: time.Duration(i) * time.Second / frameRate, Keyframe: i == 0, Data: make([]byte, size)}
		_, _ = noise.Read(frame.Data) // never fails
		if frame.Keyframe {
			// RFC 6386, section 9.1: frame tag, start code, width and height.
			copy(frame.Data, []byte{0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a})
			binary.LittleEndian.PutUint16(frame.Data[6:], uint16(clip.Width))
			binary.LittleEndian.PutUint16(frame.Data[8:], uint16(clip.Height))
		} else {
			frame.Data[0] |= 1
		}
		clip.Frames = append(clip.Frames, frame)
	}
	return clip
}

// microphone makes a clip of a bit rate in kbit/s.
func microphone(bitrate int) *testmedia.Clip {
	clip := &testmedia.Clip{
		MimeType: testmedia.MimeOpus, ClockRate: testmedia.ClockOpus, Channels: 2, Duration: clipFrames * time.Second / frameRate,
	}
	size := int(opusInterval * time.Duration(bitrate) * 1000 / 8 / time.Second)
	noise := rand.NewChaCha8([32]byte{1})
	for at := time.Duration(0); at < clip.Duration; at += opusInterval {
		data := make([]byte, size)
		_, _ = noise.Read(data) // never fails
		data[0] = 0x78          // RFC 6716, section 3.1: CELT, full band, 20 ms, mono, one frame
		clip.Frames = append(clip.Frames, testmedia.Frame{At: at, Data: data, Keyframe: true})
	}
	return clip
}
