package main

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// The pattern of what is sent: a camera of 30 pictures a second and 1.2 Mbit/s,
// whose pictures leave as bursts of 4 packets, with a keyframe of 24 packets
// every 3 s; and Opus of 32 kbit/s in packets of 20 ms. The content is noise
// behind valid headers: nobody decodes it.
const (
	frameRate     = 30
	clipFrames    = 3 * frameRate
	keyframeBytes = 28_000
	deltaBytes    = 4_700
	opusInterval  = 20 * time.Millisecond
	opusBytes     = 80
)

// clips are what every publisher plays.
func clips() map[media.Source]*testmedia.Clip {
	return map[media.Source]*testmedia.Clip{media.Camera: cameraClip(), media.Microphone: microphoneClip()}
}

func cameraClip() *testmedia.Clip {
	noise := rand.NewChaCha8([32]byte{})
	clip := &testmedia.Clip{
		MimeType: testmedia.MimeVP8, ClockRate: testmedia.ClockVP8, Width: 640, Height: 360,
		Duration: clipFrames * time.Second / frameRate,
	}
	for i := range clipFrames {
		frame := testmedia.Frame{At: time.Duration(i) * time.Second / frameRate, Keyframe: i == 0}
		if frame.Keyframe {
			frame.Data = make([]byte, keyframeBytes)
			_, _ = noise.Read(frame.Data) // never fails
			// RFC 6386, section 9.1: frame tag, start code, width and height.
			frame.Data[0], frame.Data[1], frame.Data[2] = 0x10, 0x02, 0x00
			frame.Data[3], frame.Data[4], frame.Data[5] = 0x9d, 0x01, 0x2a
			binary.LittleEndian.PutUint16(frame.Data[6:], uint16(clip.Width))
			binary.LittleEndian.PutUint16(frame.Data[8:], uint16(clip.Height))
		} else {
			frame.Data = make([]byte, deltaBytes)
			_, _ = noise.Read(frame.Data)
			frame.Data[0] |= 1 // not a keyframe
		}
		clip.Frames = append(clip.Frames, frame)
	}
	return clip
}

func microphoneClip() *testmedia.Clip {
	noise := rand.NewChaCha8([32]byte{1})
	clip := &testmedia.Clip{MimeType: testmedia.MimeOpus, ClockRate: testmedia.ClockOpus, Channels: 2, Duration: time.Second}
	for at := time.Duration(0); at < clip.Duration; at += opusInterval {
		data := make([]byte, opusBytes)
		_, _ = noise.Read(data)
		data[0] = 0x78 // RFC 6716, section 3.1: CELT, full band, 20 ms, mono, one frame
		clip.Frames = append(clip.Frames, testmedia.Frame{At: at, Data: data, Keyframe: true})
	}
	return clip
}
