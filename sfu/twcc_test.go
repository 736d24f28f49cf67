package sfu

import (
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"github.com/pion/rtcp"
)

// feedbackAbout is feedback about packets from base on: a run of one for each
// symbol.
func feedbackAbout(base uint16, symbols ...uint16) transportFeedback {
	fb := transportFeedback{base: base, count: len(symbols)}
	for _, s := range symbols {
		fb.chunks = binary.BigEndian.AppendUint16(fb.chunks, s<<13|1)
	}
	return fb
}

// statuses is what a feedback packet says, by our reading of its wire form.
func statuses(t testing.TB, p rtcp.Packet) map[uint16]bool {
	t.Helper()
	raw, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	c, rest, ok := cutControl(raw)
	if !ok || len(rest) > 0 || c.kind != rtcp.TypeTransportSpecificFeedback || c.count != rtcp.FormatTCC {
		t.Fatalf("not one feedback packet: %x", raw)
	}
	fb, ok := parseFeedback(c.body)
	if !ok {
		t.Fatalf("malformed: %x", raw)
	}
	all := map[uint16]bool{}
	fb.each(func(n uint16, received bool) { all[n] = received })
	return all
}

// pionStatuses is what it says by Pion's reading.
func pionStatuses(fb *rtcp.TransportLayerCC) map[uint16]bool {
	all, n, left := map[uint16]bool{}, fb.BaseSequenceNumber, int(fb.PacketStatusCount)
	for _, chunk := range fb.PacketChunks {
		var symbols []uint16
		switch c := chunk.(type) {
		case *rtcp.RunLengthChunk:
			symbols = slices.Repeat([]uint16{c.PacketStatusSymbol}, int(c.RunLength))
		case *rtcp.StatusVectorChunk:
			symbols = c.SymbolList
		}
		for _, s := range symbols[:min(left, len(symbols))] {
			all[n] = s != rtcp.TypeTCCPacketNotReceived
			n++
			left--
		}
	}
	return all
}

func TestFeedbackIsReadFromEveryKindOfChunk(t *testing.T) {
	for name, tc := range map[string]struct {
		count  uint16
		chunks []uint16
		want   []bool // nil: malformed
	}{
		"nothing":                      {0, nil, []bool{}},
		"run received, small delta":    {3, []uint16{1<<13 | 3}, []bool{true, true, true}},
		"run received, large delta":    {2, []uint16{2<<13 | 2}, []bool{true, true}},
		"run not received":             {2, []uint16{2}, []bool{false, false}},
		"run longer than is spoken of": {1, []uint16{1<<13 | 8191}, []bool{true}},
		"run of none":                  {1, []uint16{1 << 13, 1<<13 | 1}, []bool{true}},
		"one bit":                      {14, []uint16{1<<15 | 0b10_0000_0000_0001}, []bool{0: true, 13: true}},
		"two bits":                     {7, []uint16{1<<15 | 1<<14 | 0b01_10_00_11_00_00_01}, []bool{true, true, false, true, false, false, true}},
		"vector cut short":             {2, []uint16{1<<15 | 1<<13}, []bool{true, false}},
		"several":                      {4, []uint16{1<<13 | 3, 1<<15 | 1<<13}, []bool{true, true, true, true}},
		"no chunk":                     {1, nil, nil},
		"a chunk too few":              {15, []uint16{1 << 15}, nil},
		"runs of none only":            {1, []uint16{0, 0, 0}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			body := make([]byte, statusChunkOffset)
			binary.BigEndian.PutUint16(body[statusBaseOffset:], 65535)
			binary.BigEndian.PutUint16(body[statusCountOffset:], tc.count)
			for _, c := range tc.chunks {
				body = binary.BigEndian.AppendUint16(body, c)
			}
			fb, ok := parseFeedback(body)
			if ok != (tc.want != nil) {
				t.Fatalf("well-formed: %v", ok)
			}
			got, next := []bool{}, uint16(65535)
			fb.each(func(n uint16, received bool) {
				if n != next {
					t.Errorf("speaks of %d, want %d", n, next)
				}
				got, next = append(got, received), next+1
			})
			if ok && !slices.Equal(got, tc.want) {
				t.Errorf("says %v, want %v", got, tc.want)
			}
		})
	}
	if _, ok := parseFeedback(make([]byte, statusChunkOffset-1)); ok {
		t.Error("half a message is taken")
	}
}

// FuzzFeedback compares our reading of transport-wide feedback with Pion's,
// where Pion takes it.
func FuzzFeedback(f *testing.F) {
	raw, err := feedbackMessage().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw[controlHeaderSize:])
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0x1E, 0x61, 0, 0, 0, 2, 0, 0, 0, 0, 0x20, 2, 4, 4})
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0x1E, 0x61, 0xFF, 0xFF, 0, 9, 0, 0, 0, 0, 0xD1, 0x80, 0x9F, 0, 4, 4, 4, 4, 4, 4, 4, 4})
	f.Fuzz(func(t *testing.T, body []byte) {
		fb, ok := parseFeedback(body)
		n := 0
		got := map[uint16]bool{}
		fb.each(func(sequence uint16, received bool) { n++; got[sequence] = received })
		if n != fb.count || ok && fb.base != binary.BigEndian.Uint16(body[statusBaseOffset:]) {
			t.Fatalf("speaks of %d packets from %d on, says %d", n, fb.base, fb.count)
		}
		if len(body)%4 != 0 || len(body) > maxPacketSize {
			return
		}
		packet := append([]byte{0x80 | rtcp.FormatTCC, byte(rtcp.TypeTransportSpecificFeedback), 0, 0}, body...)
		binary.BigEndian.PutUint16(packet[2:], uint16(len(body)/4))
		var pion rtcp.TransportLayerCC
		if pion.Unmarshal(packet) != nil {
			return
		}
		if !ok || !maps.Equal(got, pionStatuses(&pion)) {
			t.Fatalf("says %v (%v), Pion reads %v", got, ok, pionStatuses(&pion))
		}
	})
}
