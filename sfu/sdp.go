package sfu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"consilium/internal/media"
)

// Limits of an offer.
const (
	maxOfferBytes = 256 << 10
	maxOfferLines = 128 // m-lines
)

// offerLine is what an m-line of an offer says, as far as we use it.
type offerLine struct {
	mid       string
	kind      media.Kind
	sends     bool // sendonly or sendrecv
	receives  bool // recvonly or sendrecv
	app       bool // a data channel
	ssrc, rtx uint32
	codecs    []string // names, lower case
}

// parsedOffer is an offer with every candidate taken out.
type parsedOffer struct {
	sdp        string // without candidates
	lines      []offerLine
	candidates []string
	// fingerprint is that of the client's DTLS certificate (RFC 8122): it is
	// the same in all offers of one PeerConnection.
	fingerprint string
}

// parseOffer reads an offer and refuses what the server would misunderstand.
// Errors wrap ErrNotSDP or ErrBadOffer.
func parseOffer(text string) (parsedOffer, error) {
	var o parsedOffer
	if len(text) > maxOfferBytes {
		return o, fmt.Errorf("%w: %d bytes, more than %d", ErrBadOffer, len(text), maxOfferBytes)
	}
	if strings.TrimSpace(text) == "" {
		return o, fmt.Errorf("%w: it is empty", ErrNotSDP)
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return o, fmt.Errorf("%w: %w", ErrNotSDP, err)
	}
	if len(d.MediaDescriptions) == 0 {
		return o, fmt.Errorf("%w: it has no m-line", ErrBadOffer)
	}
	if len(d.MediaDescriptions) > maxOfferLines {
		return o, fmt.Errorf("%w: more than %d m-lines", ErrBadOffer, maxOfferLines)
	}
	mids := map[string]bool{}
	for i, m := range d.MediaDescriptions {
		line, err := parseLine(&d, m)
		if err != nil {
			return o, fmt.Errorf("%w: m-line %d: %w", ErrBadOffer, i, err)
		}
		if mids[line.mid] {
			return o, fmt.Errorf("%w: mid %q occurs twice", ErrBadOffer, line.mid)
		}
		mids[line.mid] = true
		o.lines = append(o.lines, line)
		o.candidates = append(o.candidates, stripCandidates(m)...)
	}
	o.fingerprint = fingerprint(&d)
	if err := bundled(&d, o.lines); err != nil {
		return o, fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	out, err := d.Marshal()
	if err != nil {
		return o, fmt.Errorf("%w: %w", ErrNotSDP, err)
	}
	o.sdp = string(out)
	return o, nil
}

// stripCandidates takes the candidates out of an m-line. The server learns its
// peers as peer-reflexive, so that no name, VPN or private address can break a
// call and no SDP can make the server send anywhere.
func stripCandidates(m *sdp.MediaDescription) []string {
	var found []string
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		if a.Key == sdp.AttrKeyCandidate {
			found = append(found, strings.Clone(a.Value)) // see parseLine
		}
		return a.Key == sdp.AttrKeyCandidate || a.Key == "remote-candidates"
	})
	return found
}

func parseLine(d *sdp.SessionDescription, m *sdp.MediaDescription) (offerLine, error) {
	mid, ok := m.Attribute(sdp.AttrKeyMID)
	if !ok || mid == "" || len(mid) > 16 {
		return offerLine{}, fmt.Errorf("no usable a=mid")
	}
	// What outlives the parsing is copied: strings of a parsed SDP are pieces of
	// one copy of its whole text, and some (a track's mid and codec) are in
	// events and manifests long after the session has ended.
	line := offerLine{mid: strings.Clone(mid)}
	switch strings.ToLower(m.MediaName.Media) {
	case "audio":
		line.kind = media.Audio
	case "video":
		line.kind = media.Video
	case "application":
		line.app = true
		return line, nil
	default:
		return line, fmt.Errorf("media %q is neither audio nor video", m.MediaName.Media)
	}
	switch direction(d, m) {
	case "sendrecv":
		line.sends, line.receives = true, true
	case "sendonly":
		line.sends = true
	case "recvonly":
		line.receives = true
	default:
		return line, fmt.Errorf("mid %q is inactive: leave m-lines as they are and send nothing", mid)
	}
	line.ssrc, line.rtx = ssrcs(m)
	for _, a := range m.Attributes {
		if a.Key == "rtpmap" {
			if _, codec, ok := strings.Cut(a.Value, " "); ok {
				name, _, _ := strings.Cut(codec, "/")
				line.codecs = append(line.codecs, strings.Clone(strings.ToLower(name)))
			}
		}
	}
	return line, nil
}

func direction(d *sdp.SessionDescription, m *sdp.MediaDescription) string {
	for _, list := range [][]sdp.Attribute{m.Attributes, d.Attributes} {
		for _, a := range list {
			switch a.Key {
			case "sendrecv", "sendonly", "recvonly", "inactive":
				return a.Key
			}
		}
	}
	return "sendrecv"
}

// fingerprint returns all fingerprints of an offer; with several hashes there
// are several. Everything goes over one transport, so they are of one
// certificate.
func fingerprint(d *sdp.SessionDescription) string {
	attributes := slices.Clone(d.Attributes)
	for _, m := range d.MediaDescriptions {
		attributes = append(attributes, m.Attributes...)
	}
	var all []string
	for _, a := range attributes {
		if f := strings.ToLower(a.Value); a.Key == "fingerprint" && !slices.Contains(all, f) {
			all = append(all, strings.Clone(f)) // see parseLine
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// ssrcs returns the declared SSRC of an m-line and that of its retransmissions,
// 0 where there is none.
func ssrcs(m *sdp.MediaDescription) (primary, rtx uint32) {
	for _, a := range m.Attributes {
		switch a.Key {
		case sdp.AttrKeySSRCGroup:
			f := strings.Fields(a.Value)
			if len(f) == 3 && f[0] == "FID" {
				return parseSSRC(f[1]), parseSSRC(f[2])
			}
		case sdp.AttrKeySSRC:
			if primary == 0 {
				id, _, _ := strings.Cut(a.Value, " ")
				primary = parseSSRC(id)
			}
		}
	}
	return primary, rtx
}

func parseSSRC(s string) uint32 {
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(v)
}

// bundled checks that everything goes over one transport.
func bundled(d *sdp.SessionDescription, lines []offerLine) error {
	group := map[string]bool{}
	for _, a := range d.Attributes {
		if a.Key == sdp.AttrKeyGroup && strings.HasPrefix(a.Value, "BUNDLE") {
			for _, mid := range strings.Fields(a.Value)[1:] {
				group[mid] = true
			}
		}
	}
	for _, l := range lines {
		if len(lines) > 1 && !group[l.mid] {
			return fmt.Errorf("mid %q is not in a=group:BUNDLE: everything must go over one transport", l.mid)
		}
	}
	return nil
}

// upLines reads from the server's answer what was agreed for the m-lines on
// which the client sends.
func upLines(answer string, lines []offerLine) (map[string]upLine, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(answer); err != nil {
		return nil, fmt.Errorf("read own answer: %w", err)
	}
	up := map[string]upLine{}
	for i, m := range d.MediaDescriptions {
		if i >= len(lines) || !lines[i].sends || m.MediaName.Port.Value == 0 {
			continue
		}
		l := upLine{
			MID: lines[i].mid, Kind: lines[i].kind, SSRC: lines[i].ssrc, RTXSSRC: lines[i].rtx,
			Codecs: map[uint8]upCodec{},
		}
		readCodecs(&l, m)
		readExtensions(&l, m)
		up[l.MID] = l
	}
	return up, nil
}

func readCodecs(l *upLine, m *sdp.MediaDescription) {
	for _, a := range m.Attributes {
		number, rest, ok := strings.Cut(a.Value, " ")
		pt, err := strconv.ParseUint(number, 10, 7)
		if !ok || err != nil {
			if a.Key == "rtcp-fb" && strings.HasSuffix(a.Value, " nack") {
				l.NACK = true
			}
			continue
		}
		c := l.Codecs[uint8(pt)]
		switch a.Key {
		case "rtpmap":
			f := strings.Split(rest, "/")
			c.Name = strings.Clone(strings.ToLower(f[0])) // see parseLine
			if len(f) > 1 {
				rate, _ := strconv.ParseUint(f[1], 10, 32)
				c.ClockRate = uint32(rate)
			}
			if len(f) > 2 {
				n, _ := strconv.ParseUint(f[2], 10, 16)
				c.Channels = uint16(n)
			}
		case "fmtp":
			c.FMTP = strings.Clone(rest)
			if apt, ok := strings.CutPrefix(rest, "apt="); ok {
				n, _ := strconv.ParseUint(apt, 10, 7)
				c.APT = uint8(n)
			}
		case "rtcp-fb":
			l.NACK = l.NACK || rest == "nack"
			continue
		default:
			continue
		}
		l.Codecs[uint8(pt)] = c
	}
}

func readExtensions(l *upLine, m *sdp.MediaDescription) {
	for _, a := range m.Attributes {
		if a.Key != sdp.AttrKeyExtMap {
			continue
		}
		number, uri, _ := strings.Cut(a.Value, " ")
		number, _, _ = strings.Cut(number, "/")
		uri, _, _ = strings.Cut(uri, " ")
		id, err := strconv.ParseUint(number, 10, 8)
		if err != nil {
			continue
		}
		switch uri {
		case sdp.SDESMidURI:
			l.MIDExt = uint8(id)
		case sdp.TransportCCURI:
			l.TWCCExt = uint8(id)
		case audioLevelURI:
			l.AudioLevelExt = uint8(id)
		}
	}
}

// answerCandidates lists the candidates of the server's answer.
func answerCandidates(answer string) []string {
	var found []string
	for l := range strings.Lines(answer) {
		if c, ok := strings.CutPrefix(strings.TrimSpace(l), "a=candidate:"); ok && !slices.Contains(found, c) {
			found = append(found, c)
		}
	}
	return found
}

// withBitrates adds the bitrates of the configuration to every video m-line on
// which the client sends: the one from which a browser's encoder starts, and
// the one it must not pass (RFC 8866, section 5.8; RFC 3890).
func withBitrates(answer string, up map[string]upLine, c MediaConfig) string {
	if c.StartBitrate <= 0 && c.MaxBitrate <= 0 {
		return answer
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(answer); err != nil {
		return answer
	}
	for _, m := range d.MediaDescriptions {
		mid, _ := m.Attribute(sdp.AttrKeyMID)
		l, ok := up[mid]
		if !ok || l.Kind != media.Video {
			continue
		}
		if c.StartBitrate > 0 {
			startAt(m, l, c.StartBitrate)
		}
		if c.MaxBitrate > 0 {
			m.Bandwidth = []sdp.Bandwidth{
				{Type: "AS", Bandwidth: uint64(c.MaxBitrate)}, {Type: "TIAS", Bandwidth: uint64(c.MaxBitrate) * 1000},
			}
		}
	}
	out, err := d.Marshal()
	if err != nil {
		return answer
	}
	return string(out)
}

// startAt says from which bitrate, in kbit/s, an encoder starts. Chromium reads
// it; others ignore it. Without it the first 15 s of a call are blurred.
func startAt(m *sdp.MediaDescription, l upLine, kbps int) {
	hint := fmt.Sprintf("x-google-start-bitrate=%d", kbps)
	for pt, c := range l.Codecs {
		if c.Name == "rtx" {
			continue
		}
		if c.FMTP == "" {
			m.Attributes = append(m.Attributes, sdp.NewAttribute("fmtp", fmt.Sprintf("%d %s", pt, hint)))
			continue
		}
		for i, a := range m.Attributes {
			if a.Key == "fmtp" && strings.HasPrefix(a.Value, fmt.Sprintf("%d ", pt)) {
				m.Attributes[i].Value += ";" + hint
			}
		}
	}
}
