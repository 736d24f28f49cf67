#!/usr/bin/env bash
# Makes the short real media in testdata/media again. Needs ffmpeg with libvpx
# and libopus; the results are committed, so nobody needs to run this to test.
#
#   camera-320x180.ivf  VP8, 15 fps, 9 s: a moving test picture, a keyframe every 3 s
#   camera-640x360.ivf  the same, larger: what a camera sends in a grid of few
#   flash-320x180.ivf   VP8, 30 fps, 9 s: black, white for 100 ms from n+0.5 s on
#   beep.ogg            Opus, 20 ms packets, 9 s: a 1 kHz beep for 100 ms from n+0.5 s on
#
# All of them last nine seconds, so that they repeat without a seam and keep
# step with each other. The flash's keyframes are 0.5 s apart: a player of it
# never needs to jump to a keyframe, which would break its step with the beep.
set -euo pipefail
cd "$(dirname "$0")/media"

ff() { ffmpeg -hide_banner -loglevel error -y "$@"; }
vp8=(-c:v libvpx -deadline good -cpu-used 2 -error-resilient 1 -auto-alt-ref 0 -lag-in-frames 0 -pix_fmt yuv420p -threads 1 -bitexact)

camera() { # width height kbit/s
	ff -f lavfi -i "testsrc=size=$1x$2:rate=15:duration=9" \
		"${vp8[@]}" -g 45 -keyint_min 45 -b:v "$3k" -maxrate "$3k" -bufsize "$3k" "camera-$1x$2.ivf"
}
camera 320 180 200
camera 640 360 500

ff -f lavfi -i "color=black:size=320x180:rate=30:duration=9" \
	-vf "drawbox=color=white:t=fill:enable='gte(mod(n,30),15)*lt(mod(n,30),18)'" \
	"${vp8[@]}" -g 15 -keyint_min 15 -b:v 100k flash-320x180.ivf

# A faint noise under the beep keeps the encoder from sending empty packets.
# One packet a page, because readers of Ogg for RTP take a page for a packet.
ff -f lavfi -i "aevalsrc=exprs='0.002*(random(0)-0.5)+0.5*sin(2*PI*1000*t)*gte(mod(t,1),0.5)*lt(mod(t,1),0.6)':sample_rate=48000:duration=9" \
	-c:a libopus -b:a 32k -frame_duration 20 -page_duration 20000 -application voip -ac 1 -bitexact beep.ogg

ls -l
