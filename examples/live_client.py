"""A film or webcam to `jaxfacs serve`, live: prints the Action Units and emotion of each face.

pip install websockets opencv-python-headless
python live_client.py [FILM, or 0 for a webcam] [http://127.0.0.1:8000] [TOKEN]
"""

import json
import struct
import sys
import time
import urllib.request

import cv2
from websockets.sync.client import connect

film, address, token = (*sys.argv[1:], *("0", "http://127.0.0.1:8000", "")[len(sys.argv) - 1 :])
camera = cv2.VideoCapture(int(film) if film.isdigit() else film)
aus = [au["label"] for au in json.load(urllib.request.urlopen(f"{address}/v1/model"))["aus"]]
live, headers = f"ws{address[4:]}/v1/live", {"Authorization": f"Bearer {token}"}
with connect(live, additional_headers=headers) as server:
    server.send(json.dumps({"type": "start", "format": "jpeg"}))
    window = json.loads(server.recv())["window"]  # frames that may be under way
    begun, sent, answered = time.time(), 0, 0
    more, frame = camera.read()
    while more or answered < sent:
        if more:
            jpeg = cv2.imencode(".jpg", frame)[1].tobytes()
            server.send(struct.pack("<IdI", sent, time.time() - begun, len(jpeg)) + jpeg)
            sent, (more, frame) = sent + 1, camera.read()
        if sent - answered == window or not more:
            answer, answered = json.loads(server.recv()), answered + 1
            for face in answer.get("faces", []):
                present = [au for au, c in zip(aus, face["c"], strict=True) if c]
                emotion = (face["why"] or {"emotion": ""})["emotion"]
                print(answer["sequence"], face["id"], "+".join(present), emotion)
