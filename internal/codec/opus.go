package codec

import "time"

// opusMaxDuration is the longest Opus packet (RFC 6716, 3.4, R5).
const opusMaxDuration = 120 * time.Millisecond

// OpusDuration returns how much sound an Opus packet holds, by its TOC byte
// and frame count (RFC 6716, 3.1 and 3.2), and false if the packet is empty or
// claims more than 120 ms.
func OpusDuration(packet []byte) (time.Duration, bool) {
	if len(packet) == 0 {
		return 0, false
	}
	frames := 1
	switch packet[0] & 0x03 {
	case 1, 2:
		frames = 2
	case 3:
		if len(packet) < 2 {
			return 0, false
		}
		frames = int(packet[1] & 0x3F)
	}
	d := time.Duration(frames) * opusFrame(packet[0]>>3)
	return d, d > 0 && d <= opusMaxDuration
}

// opusFrame is the frame size of a TOC configuration (RFC 6716, table 2).
func opusFrame(config byte) time.Duration {
	switch {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		if config%4 == 3 {
			return 60 * time.Millisecond
		}
		return 10 * time.Millisecond << (config % 4)
	case config < 16: // hybrid: 10, 20 ms
		return 10 * time.Millisecond << (config % 2)
	default: // CELT: 2.5, 5, 10, 20 ms
		return 2500 * time.Microsecond << (config % 4)
	}
}
