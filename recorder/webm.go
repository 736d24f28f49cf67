package recorder

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/at-wat/ebml-go"

	"consilium/internal/media"
)

// The Matroska elements (RFC 9559) a file of ours holds. ebml-go marshals them;
// webm.TrackEntry of that module lacks FlagLacing and Language, which is why we
// have our own. The structs hold no global state: see DESIGN.md, "ebml-go".

type ebmlHeader struct {
	EBMLVersion        uint64 `ebml:"EBMLVersion"`
	EBMLReadVersion    uint64 `ebml:"EBMLReadVersion"`
	EBMLMaxIDLength    uint64 `ebml:"EBMLMaxIDLength"`
	EBMLMaxSizeLength  uint64 `ebml:"EBMLMaxSizeLength"`
	EBMLDocType        string `ebml:"EBMLDocType"`
	DocTypeVersion     uint64 `ebml:"EBMLDocTypeVersion"`
	DocTypeReadVersion uint64 `ebml:"EBMLDocTypeReadVersion"`
}

type info struct {
	TimestampScale uint64  `ebml:"TimecodeScale"` // ns per tick: 1 ms
	Duration       float64 `ebml:"Duration,omitempty"`
	MuxingApp      string  `ebml:"MuxingApp"`
	WritingApp     string  `ebml:"WritingApp"`
}

type trackEntry struct {
	TrackNumber  uint64        `ebml:"TrackNumber"`
	TrackUID     uint64        `ebml:"TrackUID"`
	TrackType    uint64        `ebml:"TrackType"`
	FlagLacing   uint64        `ebml:"FlagLacing"`
	Language     string        `ebml:"Language"`
	CodecID      string        `ebml:"CodecID"`
	CodecPrivate []byte        `ebml:"CodecPrivate,omitempty"`
	CodecDelay   uint64        `ebml:"CodecDelay,omitempty"`
	SeekPreRoll  uint64        `ebml:"SeekPreRoll,omitempty"`
	Audio        *audioElement `ebml:"Audio"`
	Video        *videoElement `ebml:"Video"`
}

type audioElement struct {
	SamplingFrequency float64 `ebml:"SamplingFrequency"`
	Channels          uint64  `ebml:"Channels"`
}

type videoElement struct {
	PixelWidth  uint64 `ebml:"PixelWidth"`
	PixelHeight uint64 `ebml:"PixelHeight"`
}

type tracks struct {
	TrackEntry []trackEntry `ebml:"TrackEntry"`
}

// tags carries the description of a spool inside the spool itself, so that it
// can be finalised when the manifest that knew it is lost.
type tags struct {
	Tag []tag `ebml:"Tag"`
}

type tag struct {
	Targets   struct{}    `ebml:"Targets"`
	SimpleTag []simpleTag `ebml:"SimpleTag"`
}

type simpleTag struct {
	TagName   string `ebml:"TagName"`
	TagString string `ebml:"TagString"`
}

type seekHead struct {
	Seek []seek `ebml:"Seek"`
}

type seek struct {
	SeekID       []byte `ebml:"SeekID"`
	SeekPosition uint64 `ebml:"SeekPosition,size=8"`
}

type cues struct {
	CuePoint []cuePoint `ebml:"CuePoint"`
}

type cuePoint struct {
	CueTime           uint64           `ebml:"CueTime"`
	CueTrackPositions cueTrackPosition `ebml:"CueTrackPositions"`
}

// cueTrackPosition has positions of a fixed size, so that the size of the Cues
// is known before the positions are.
type cueTrackPosition struct {
	CueTrack           uint64 `ebml:"CueTrack"`
	CueClusterPosition uint64 `ebml:"CueClusterPosition,size=8"`
}

// Element ids, as written (with the length marker).
const (
	idEBML        = 0x1A45DFA3
	idSegment     = 0x18538067
	idSeekHead    = 0x114D9B74
	idInfo        = 0x1549A966
	idTracks      = 0x1654AE6B
	idTags        = 0x1254C367
	idCues        = 0x1C53BB6B
	idCluster     = 0x1F43B675
	idTimestamp   = 0xE7
	idSimpleBlock = 0xA3
	idVoid        = 0xEC
	idTag         = 0x7373
	idSimpleTag   = 0x67C8
	idTagName     = 0x45A3
	idTagString   = 0x4487
)

const (
	trackNumber    = 1 // every file holds one track
	trackTypeVideo = 1
	trackTypeAudio = 2
	timestampScale = 1_000_000 // ns: timestamps are milliseconds

	opusPreSkip     = 312 // samples at 48 kHz, what libopus uses
	opusCodecDelay  = opusPreSkip * 1_000_000_000 / 48_000
	opusSeekPreRoll = 80_000_000 // ns, RFC 9559 and RFC 7845, 4.6
)

// block is one frame as it stands in a file.
type block struct {
	ms       int64 // file time
	keyframe bool
	data     []byte
	track    int64 // number; 0 in files of one track
}

// format is what a file must say about its track.
type format struct {
	Codec         string `json:"codec"`
	Width         int    `json:"width,omitempty"`
	Height        int    `json:"height,omitempty"`
	CodecPrivate  []byte `json:"codec_private,omitempty"`
	TrackUID      uint64 `json:"track_uid"`
	WritingApp    string `json:"writing_app"`
	SilencePacket []byte `json:"-"`
}

func (f format) audio() bool { return f.Codec == media.Opus }

// extension of the final file. Matroska for H.264: Firefox plays no H.264 in
// a file that says it is WebM.
func (f format) extension() string {
	if f.Codec == media.H264 {
		return ".mkv"
	}
	return ".webm"
}

func (f format) docType() string {
	if f.Codec == media.H264 {
		return "matroska"
	}
	return "webm"
}

func (f format) header() ebmlHeader {
	return ebmlHeader{
		EBMLVersion: 1, EBMLReadVersion: 1, EBMLMaxIDLength: 4, EBMLMaxSizeLength: 8,
		EBMLDocType: f.docType(), DocTypeVersion: 4, DocTypeReadVersion: 2,
	}
}

func (f format) tracks() (tracks, error) {
	t := trackEntry{
		TrackNumber: trackNumber, TrackUID: f.TrackUID, Language: "und",
		CodecPrivate: f.CodecPrivate,
	}
	switch f.Codec {
	case media.Opus:
		t.CodecID, t.CodecPrivate = "A_OPUS", opusHead()
		t.CodecDelay, t.SeekPreRoll = opusCodecDelay, opusSeekPreRoll
	case media.VP8:
		t.CodecID = "V_VP8"
	case media.VP9:
		t.CodecID = "V_VP9"
	case media.AV1:
		t.CodecID = "V_AV1"
	case media.H264:
		t.CodecID = "V_MPEG4/ISO/AVC"
	default:
		return tracks{}, fmt.Errorf("codec %q can't be recorded", f.Codec)
	}
	if f.audio() {
		// The SDP always says two channels (RFC 7587, 7); mono packets decode.
		t.TrackType, t.Audio = trackTypeAudio, &audioElement{SamplingFrequency: 48000, Channels: 2}
	} else {
		t.TrackType = trackTypeVideo
		t.Video = &videoElement{PixelWidth: uint64(max(f.Width, 1)), PixelHeight: uint64(max(f.Height, 1))}
	}
	return tracks{TrackEntry: []trackEntry{t}}, nil
}

// opusHead is the identification header (RFC 7845, 5.1). Firefox refuses a
// file without it.
func opusHead() []byte {
	h := append([]byte("OpusHead"), 1, 2)
	h = binary.LittleEndian.AppendUint16(h, opusPreSkip)
	h = binary.LittleEndian.AppendUint32(h, 48000)
	return append(h, 0, 0, 0) // output gain, mapping family
}

// marshal turns a struct with ebml tags into bytes. A panic of ebml-go becomes
// an error: a fault in one file must not end the calls of a hospital.
func marshal(v any) (b []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("marshal %T: panic: %v", v, r)
		}
	}()
	var buf bytes.Buffer
	if err := ebml.Marshal(v, &buf); err != nil {
		return nil, fmt.Errorf("marshal %T: %w", v, err)
	}
	return buf.Bytes(), nil
}

// appendCluster appends a whole cluster of known size, of at least one block.
// It gives the bytes ebml.Marshal would for the struct, without copying every
// frame once for each element around it: the sizes are known.
func appendCluster(b []byte, blocks []block) ([]byte, error) {
	base, body := blocks[0].ms, int64(0)
	for _, blk := range blocks {
		body += blockSize(len(blk.data))
	}
	b = slices.Grow(b, int(clusterSize(base, body)))
	b = binary.BigEndian.AppendUint32(b, idCluster)
	stamp := uintLength(base)
	b = appendSize(b, 1+1+stamp+body)
	b = append(b, idTimestamp, 0x80|byte(stamp))
	for shift := 8 * (stamp - 1); shift >= 0; shift -= 8 {
		b = append(b, byte(base>>shift))
	}
	for _, blk := range blocks {
		rel := blk.ms - base
		if rel < 0 || rel > maxBlockOffset {
			return nil, fmt.Errorf("block at %d ms does not fit a cluster at %d ms", blk.ms, base)
		}
		b = appendBlock(b, int16(rel), blk)
	}
	return b, nil
}

// keyframeFlag is the first bit of the flags of a SimpleBlock.
const keyframeFlag = 0x80

// appendBlock appends a SimpleBlock without lacing (RFC 9559, 10.2).
func appendBlock(b []byte, rel int16, blk block) []byte {
	b = appendSize(append(b, idSimpleBlock), blockHeaderSize+int64(len(blk.data)))
	b = appendSize(b, cmp.Or(blk.track, trackNumber))
	b = binary.BigEndian.AppendUint16(b, uint16(rel))
	flags := byte(0)
	if blk.keyframe {
		flags = keyframeFlag
	}
	return append(append(b, flags), blk.data...)
}

// appendSize appends an EBML data size (RFC 8794, 6) of the least length. A
// track number is written the same way.
func appendSize(b []byte, n int64) []byte {
	length := sizeLength(n)
	n |= 1 << (7 * length)
	for shift := 8 * (length - 1); shift >= 0; shift -= 8 {
		b = append(b, byte(n>>shift))
	}
	return b
}

// Sizes of what appendCluster writes, needed before it is written.

const blockHeaderSize = 4 // track number, 16-bit timestamp, flags

func blockSize(data int) int64 {
	body := int64(data) + blockHeaderSize
	return 1 + sizeLength(body) + body
}

func clusterSize(timestamp, body int64) int64 {
	body += 2 + uintLength(timestamp)
	return 4 + sizeLength(body) + body
}

// sizeLength is the length of an EBML data size (RFC 8794, 6).
func sizeLength(n int64) int64 {
	length := int64(1)
	for limit := int64(1)<<7 - 1; n >= limit && length < 8; limit = limit<<7 | 0x7f {
		length++
	}
	return length
}

func uintLength(n int64) int64 {
	length := int64(1)
	for n >>= 8; n > 0; n >>= 8 {
		length++
	}
	return length
}

// segmentStart is the id of the Segment and its size in eight bytes.
func segmentStart(size int64) []byte {
	b := binary.BigEndian.AppendUint32(nil, idSegment)
	return binary.BigEndian.AppendUint64(b, 1<<56|uint64(size))
}

// unknownSize in eight bytes (RFC 8794, 6.2).
const unknownSize = 1<<56 - 1
