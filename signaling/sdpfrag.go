package signaling

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// maxFragCandidates bounds the candidates of one SDP fragment.
const maxFragCandidates = 256

// sdpFrag is an application/trickle-ice-sdpfrag body (RFC 8840, section 9), as
// far as WHIP uses it: one set of ICE credentials, since everything is bundled.
type sdpFrag struct {
	ufrag, pwd string // both empty, or both set
	candidates []fragCandidate
	end        bool // a=end-of-candidates
}

type fragCandidate struct {
	candidate string // "candidate:..."
	mid       string // of the m-line it came under, or ""
}

// parseSDPFrag reads a fragment. Lines that trickle ICE does not use are
// ignored, as RFC 8840 asks.
func parseSDPFrag(body string) (sdpFrag, error) {
	var f sdpFrag
	mid := ""
	for line := range strings.Lines(body) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if len(line) < 2 || line[1] != '=' {
			return sdpFrag{}, errors.New("a line is not of the form x=value")
		}
		if strings.ContainsFunc(line, unicode.IsControl) {
			return sdpFrag{}, errors.New("a line holds control characters")
		}
		switch line[0] {
		case 'm':
			mid = ""
		case 'a':
			if err := f.attribute(line[2:], &mid); err != nil {
				return sdpFrag{}, err
			}
		}
	}
	switch {
	case (f.ufrag == "") != (f.pwd == ""):
		return sdpFrag{}, errors.New("one of ice-ufrag and ice-pwd is missing")
	case f.ufrag == "" && len(f.candidates) == 0 && !f.end:
		return sdpFrag{}, errors.New("neither ICE credentials nor candidates")
	}
	return f, nil
}

func (f *sdpFrag) attribute(a string, mid *string) error {
	name, value, _ := strings.Cut(a, ":")
	switch name {
	case "mid":
		if value == "" || len(value) > maxName {
			return errors.New("a=mid has no usable value")
		}
		*mid = value
	case "ice-ufrag":
		return setOnce(&f.ufrag, value, 4)
	case "ice-pwd":
		return setOnce(&f.pwd, value, 22)
	case "candidate":
		if len(f.candidates) >= maxFragCandidates {
			return fmt.Errorf("more than %d candidates", maxFragCandidates)
		}
		f.candidates = append(f.candidates, fragCandidate{a, *mid})
	case "end-of-candidates":
		f.end = true
	}
	return nil
}

// setOnce sets ICE credentials (RFC 8839, section 5.4: at least minLen and at
// most 256 ice-chars), which may be repeated but not change.
func setOnce(to *string, value string, minLen int) error {
	if len(value) < minLen || len(value) > 256 || strings.Trim(value, iceChars) != "" {
		return errors.New("ICE credentials are not valid")
	}
	if *to != "" && *to != value {
		return errors.New("more than one set of ICE credentials")
	}
	*to = value
	return nil
}

// iceChars are ALPHA, DIGIT, "+" and "/".
const iceChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// iceCredentials returns the first ice-ufrag and ice-pwd of an SDP.
func iceCredentials(sdp string) (ufrag, pwd string) {
	for line := range strings.Lines(sdp) {
		line = strings.TrimRight(line, "\r\n")
		if v, ok := strings.CutPrefix(line, "a=ice-ufrag:"); ok && ufrag == "" {
			ufrag = v
		}
		if v, ok := strings.CutPrefix(line, "a=ice-pwd:"); ok && pwd == "" {
			pwd = v
		}
	}
	return ufrag, pwd
}

// withICECredentials makes of an offer the one that restarts ICE: the same with
// new credentials, without candidates, and with the next version number (RFC
// 8829, section 5.2.2).
func withICECredentials(offer, ufrag, pwd string) string {
	var b strings.Builder
	for line := range strings.Lines(offer) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "a=candidate:"), line == "a=end-of-candidates":
			continue
		case strings.HasPrefix(line, "a=ice-ufrag:"):
			line = "a=ice-ufrag:" + ufrag
		case strings.HasPrefix(line, "a=ice-pwd:"):
			line = "a=ice-pwd:" + pwd
		case strings.HasPrefix(line, "o="):
			line = nextVersion(line)
		}
		b.WriteString(line)
		b.WriteString("\r\n")
	}
	return b.String()
}

// nextVersion raises the version of an o= line (RFC 8866, section 5.2).
func nextVersion(line string) string {
	fields := strings.Split(line, " ")
	if len(fields) != 6 {
		return line
	}
	version, err := strconv.ParseUint(fields[2], 10, 64)
	if err != nil {
		return line
	}
	fields[2] = strconv.FormatUint(version+1, 10)
	return strings.Join(fields, " ")
}

// fragOf makes of an answer the fragment that answers an ICE restart: the new
// credentials, and the candidates under the first m-line, which carries all.
func fragOf(answer string) string {
	ufrag, pwd := iceCredentials(answer)
	var b strings.Builder
	for line := range strings.Lines(answer) {
		if strings.TrimRight(line, "\r\n") == "a=ice-lite" {
			b.WriteString("a=ice-lite\r\n")
		}
	}
	b.WriteString("a=ice-ufrag:" + ufrag + "\r\na=ice-pwd:" + pwd + "\r\n")
	media := 0
	for line := range strings.Lines(answer) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "m=") {
			media++
		}
		if media != 1 {
			continue
		}
		if strings.HasPrefix(line, "m=") || strings.HasPrefix(line, "a=mid:") || strings.HasPrefix(line, "a=candidate:") {
			b.WriteString(line + "\r\n")
		}
	}
	b.WriteString("a=end-of-candidates\r\n")
	return b.String()
}
