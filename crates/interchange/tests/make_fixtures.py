"""Makes the small files under `fixtures/` that the tests read.

Usage: python make_fixtures.py   (needs Pillow 11 or newer with LittleCMS, WebP and AVIF; nothing else)

The files are kept in the repository, so that the tests need no Python; the script says how each came to be. Expected colours
are computed by LittleCMS here and written to `expected.json`, so that the Rust side is checked against another library.
"""

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

from PIL import Image, ImageCms, PngImagePlugin

OUT = Path(__file__).parent / "fixtures"
OUT.mkdir(exist_ok=True)
EXPECTED = {}

A1111 = (
    "a castle on a hill, (sunset:1.2)\nNegative prompt: blurry, low quality\n"
    "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 1234567890, Size: 512x768, "
    'Model hash: 31e35c80fc, Model: dreamshaper_8, Denoising strength: 0.4, Lora hashes: "detail: 7c6b, other: 12", Version: v1.9.4'
)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, bits, colour, rows, *chunks):
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# --- orientation: the upright picture is 3 x 2, each of its six pixels another colour ---

UPRIGHT = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250), (250, 0, 250)]


def upright():
    picture = Image.new("RGB", (3, 2))
    picture.putdata(UPRIGHT)
    return picture


# What undoes each orientation, applied to the upright picture, gives what a camera would have stored.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
for number, operation in STORED.items():
    # Scaled up, so that JPEG keeps the colours.
    picture = upright().resize((48, 32), Image.Resampling.NEAREST)
    stored = picture.transpose(operation) if operation is not None else picture
    exif = Image.Exif()
    exif[0x0112] = number
    exif[0x010F], exif[0x0110] = "Maker", "Model X"
    exif[0x0132] = "2024:05:01 13:37:00"
    stored.save(OUT / f"orientation-{number}.jpg", quality=95, subsampling=0, exif=exif)
    if number in (5, 6):
        stored.save(OUT / f"orientation-{number}.png", exif=exif)
        stored.save(OUT / f"orientation-{number}.webp", lossless=True, exif=exif)
        stored.save(OUT / f"orientation-{number}.tif", exif=exif)
EXPECTED["upright"] = UPRIGHT

# --- inks and greys ---

inks = Image.new("CMYK", (64, 16))
PATCHES = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 128, 255, 0), (40, 80, 120, 160)]
for at, patch in enumerate(PATCHES):
    inks.paste(patch, (at * 16, 0, at * 16 + 16, 16))
inks.save(OUT / "cmyk.jpg", quality=100, subsampling=0)
EXPECTED["cmyk_ideal"] = [
    [round((255 - c) * (255 - k) / 255), round((255 - m) * (255 - k) / 255), round((255 - y) * (255 - k) / 255)] for c, m, y, k in PATCHES
]
grey = Image.new("L", (16, 16))
grey.putdata([at for at in range(256)])
grey.save(OUT / "grey.jpg", quality=100)
grey.save(OUT / "grey.png")


def cmyk_profile():
    """A tiny CMYK profile: a table of two points per ink from inks to Lab. It is linear, so that every way to interpolate in it,
    of which libraries have several, gives the same."""
    grid = []
    for c in (0, 1):
        for m in (0, 1):
            for y in (0, 1):
                for k in (0, 1):
                    light = 1 - 0.2 * c - 0.25 * m - 0.05 * y - 0.5 * k
                    grid += [round(light * 255), 128 - 30 * c + 40 * m, 128 - 30 * c + 50 * y]
    table = b"".join(bytes(range(256)) for _ in range(4)) + bytes(grid) + b"".join(bytes(range(256)) for _ in range(3))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + table
    text = b"Small inks\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    copying = b"text\0\0\0\0none\0"
    tags = [(b"desc", description), (b"wtpt", white), (b"cprt", copying), (b"A2B0", lut), (b"A2B1", lut)]
    directory, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags:
        data += bytes(-len(data) % 4)
        directory += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head + bytes(128 - len(head)) + directory + body


profile = cmyk_profile()
inks.save(OUT / "cmyk-profile.jpg", quality=100, subsampling=0, icc_profile=profile)
srgb = ImageCms.createProfile("sRGB")
as_srgb = ImageCms.profileToProfile(inks, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb, renderingIntent=1, outputMode="RGB")
EXPECTED["cmyk_profile"] = [list(as_srgb.getpixel((at * 16 + 8, 8))) for at in range(4)]

# --- profiles of RGB: made from primaries, so that no vendor's file is needed ---


def rgb_profile(primaries, gamma):
    """A matrix profile (ICC 2) of the given chromaticities with white D65, adapted to D50 by Bradford."""

    def matmul(a, b):
        return [[sum(a[i][k] * b[k][j] for k in range(3)) for j in range(3)] for i in range(3)]

    def inverse(m):
        (a, b, c), (d, e, f), (g, h, i) = m
        det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
        rows = [[e * i - f * h, c * h - b * i, b * f - c * e], [f * g - d * i, a * i - c * g, c * d - a * f], [d * h - e * g, b * g - a * h, a * e - b * d]]
        return [[value / det for value in row] for row in rows]

    white = [0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290]
    columns = [[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]
    m = [[columns[j][i] for j in range(3)] for i in range(3)]
    scale = [sum(inverse(m)[i][k] * white[k] for k in range(3)) for i in range(3)]
    m = [[m[i][j] * scale[j] for j in range(3)] for i in range(3)]
    bradford = [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    d50 = [0.9642, 1.0, 0.8249]
    cone = lambda w: [sum(bradford[i][k] * w[k] for k in range(3)) for i in range(3)]
    ratio = [d / s for d, s in zip(cone(d50), cone(white))]
    adapt = matmul(inverse(bradford), [[ratio[i] * bradford[i][j] for j in range(3)] for i in range(3)])
    m = matmul(adapt, m)
    xyz = lambda v: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(c * 65536) for c in v))
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"Made for a test\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)
    tags = [(b"desc", description), (b"cprt", b"text\0\0\0\0none\0"), (b"wtpt", xyz(d50))]
    tags += [(name, xyz([m[i][j] for i in range(3)])) for j, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))]
    tags += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    directory, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags:
        data += bytes(-len(data) % 4)
        directory += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head + bytes(128 - len(head)) + directory + body


COLOURS = [(255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 80, 40), (40, 120, 60), (90, 90, 200), (180, 170, 60), (60, 60, 60)]
WIDE = {
    "p3": rgb_profile([(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)], 2.2),
    "adobe": rgb_profile([(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)], 2.19921875),
}
for name, profile in WIDE.items():
    picture = Image.new("RGB", (len(COLOURS), 1))
    picture.putdata(COLOURS)
    picture.save(OUT / f"{name}.png", icc_profile=profile)
    converted = ImageCms.profileToProfile(picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb, renderingIntent=1, outputMode="RGB")
    EXPECTED[name] = [list(converted.getpixel((at, 0))) for at in range(len(COLOURS))]
picture.resize((64, 8), Image.Resampling.NEAREST).save(OUT / "adobe.webp", lossless=True, icc_profile=WIDE["adobe"])
picture.resize((64, 8), Image.Resampling.NEAREST).save(OUT / "adobe.tif", icc_profile=WIDE["adobe"])
with_srgb = Image.new("RGB", (len(COLOURS), 1))
with_srgb.putdata(COLOURS)
dated = ImageCms.ImageCmsProfile(srgb).tobytes()
# A fixed date of creation.
dated = dated[:24] + struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + dated[36:]
with_srgb.save(OUT / "srgb-profile.png", icc_profile=dated)
# 16 bits with a wide profile: the same colours, finer.
rows = b"\0" + b"".join(struct.pack(">3H", *(value * 257 for value in colour)) for colour in COLOURS)
packed = b"wide\0\0" + zlib.compress(WIDE["adobe"])
(OUT / "adobe-16.png").write_bytes(png(len(COLOURS), 1, 16, 2, rows, chunk(b"iCCP", packed)))

# --- depth, palette, alpha ---

rows = b"\0" + struct.pack(">8H", 0, 1, 65535, 65535, 32768, 12345, 54321, 256)
(OUT / "rgba16.png").write_bytes(png(2, 1, 16, 6, rows))
palette = chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255])) + chunk(b"tRNS", bytes([255, 128, 0]))
(OUT / "palette-alpha.png").write_bytes(png(4, 1, 2, 3, b"\0" + bytes([0b00011000]), palette))
(OUT / "grey-alpha-16.png").write_bytes(png(1, 1, 16, 4, b"\0" + struct.pack(">2H", 40000, 20000)))
frames = [Image.new("RGB", (5, 4), colour) for colour in ((255, 0, 0), (0, 255, 0))]
frames[0].save(OUT / "animated.gif", save_all=True, append_images=frames[1:], duration=100, loop=0)
upright().save(OUT / "rgb.bmp")
deep = Image.new("I;16", (2, 1))
deep.putdata([0, 65535])
deep.save(OUT / "grey16.tif")
Image.new("CMYK", (4, 4), (255, 0, 0, 0)).save(OUT / "cmyk.tif")

# --- AVIF ---

still = Image.new("RGB", (64, 48))
for at, colour in enumerate(UPRIGHT):
    still.paste(colour, (at % 3 * 21, at // 3 * 24, at % 3 * 21 + 21, at // 3 * 24 + 24))
still.save(OUT / "plain.avif", quality=95, subsampling="4:4:4")
still.save(OUT / "plain-420.avif", quality=95, subsampling="4:2:0")
translucent = still.convert("RGBA")
translucent.putalpha(128)
translucent.save(OUT / "alpha.avif", quality=95, subsampling="4:4:4")
for number, operation in STORED.items():
    exif = Image.Exif()
    exif[0x0112] = number
    turned = upright().resize((48, 32), Image.Resampling.NEAREST)
    turned = turned.transpose(operation) if operation is not None else turned
    turned.save(OUT / f"orientation-{number}.avif", quality=100, subsampling="4:4:4", exif=exif)
picture.resize((64, 8), Image.Resampling.NEAREST).save(OUT / "adobe.avif", quality=100, subsampling="4:4:4", icc_profile=WIDE["adobe"])

# --- descriptions ---


def described(name, texts, packed=()):
    info = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword, text, zip=keyword in packed)
    Image.new("RGB", (2, 2), (10, 20, 30)).save(OUT / name, pnginfo=info)


described("a1111.png", {"parameters": A1111})
described("a1111-packed.png", {"parameters": A1111.replace("castle", "château 漢字")}, packed=("parameters",))
graph = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 156680208700286, "steps": 20, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal",
          "denoise": 1.0, "model": ["4", 0], "positive": ["12", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "beautiful scenery, glass bottle", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "text, watermark", "clip": ["4", 1]}, "is_changed": [float("nan")]},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
    "12": {"class_type": "ConditioningSetArea", "inputs": {"conditioning": ["6", 0], "width": 64}},
}
described("comfyui.png", {"prompt": json.dumps(graph), "workflow": json.dumps({"nodes": [], "links": []})})
described("invokeai.png", {"invokeai_metadata": json.dumps({"positive_prompt": "a fox", "negative_prompt": "fog", "seed": 7, "steps": 30, "cfg_scale": 7.5,
          "scheduler": "euler_a", "width": 512, "height": 768, "model": {"name": "dreamshaper", "hash": "blake3:ab"}})})
described("novelai.png", {"Software": "NovelAI", "Description": "a lake", "Comment": json.dumps({"steps": 28, "sampler": "k_euler", "seed": 42, "scale": 11.0, "uc": "bad hands"})})
exif = Image.Exif()
exif[0x8769] = {0x9286: b"UNICODE\0" + A1111.encode("utf-16-be")}
for kind in ("jpg", "webp"):
    Image.new("RGB", (8, 8), (10, 20, 30)).save(OUT / f"a1111.{kind}", exif=exif.tobytes())
xmp = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia">'
    "<dc:title><rdf:Alt><rdf:li xml:lang='x-default'>A title</rdf:li></rdf:Alt></dc:title>"
    "<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li>Bob</rdf:li></rdf:Seq></dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>"
)
Image.new("RGB", (8, 8), (10, 20, 30)).save(OUT / "xmp.jpg", xmp=xmp.encode())
iptc = b"".join(b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(text)) + text for number, text in ((5, b"An IPTC title"), (80, b"Ann"), (116, b"Rights")))
bim = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(iptc)) + iptc + bytes(len(iptc) % 2)
plain = io.BytesIO()
Image.new("RGB", (8, 8), (10, 20, 30)).save(plain, "JPEG")
block = b"Photoshop 3.0\0" + bim
(OUT / "iptc.jpg").write_bytes(plain.getvalue()[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + plain.getvalue()[2:])

# --- hostile ones ---

(OUT / "hostile-60000.png").write_bytes(png(60000, 60000, 8, 6, b"\0"))
(OUT / "hostile-ztxt.png").write_bytes(png(1, 1, 8, 0, b"\0\0", chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(16 << 20), 9))))
(OUT / "hostile-iccp.png").write_bytes(png(1, 1, 8, 0, b"\0\0", chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(16 << 20), 9))))
deep = b"prompt\0" + b"{\"a\":" * 4000
(OUT / "hostile-json.png").write_bytes(png(1, 1, 8, 0, b"\0\0", chunk(b"tEXt", deep)))


# A fixed date, so that the same files come out every time.
def entry(path, method):
    info = zipfile.ZipInfo(path, (2024, 1, 1, 0, 0, 0))
    info.compress_type = method
    return info


def ora(name, xml, files=(), method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(OUT / name, "w") as archive:
        archive.writestr(entry("mimetype", zipfile.ZIP_STORED), "image/openraster")
        archive.writestr(entry("stack.xml", method), xml)
        for path, data in files:
            archive.writestr(entry(path, method), data)


dot = png(1, 1, 8, 6, b"\0\x0a\x14\x1e\xff")
layer = '<layer name="a" src="data/a.png"/>'
ora("hostile-laughs.ora", '<!DOCTYPE image [<!ENTITY a "haha"><!ENTITY b "' + "&a;" * 10 + '"><!ENTITY c "' + "&b;" * 10 + '">]><image w="1" h="1"><stack><layer name="&c;" src="data/a.png"/></stack></image>', [("data/a.png", dot)])
ora("hostile-nesting.ora", '<image w="1" h="1">' + "<stack>" * 20000 + "</stack>" * 20000 + "</image>")
ora("hostile-count.ora", '<image w="1" h="1"><stack>' + layer * 20000 + "</stack></image>", [("data/a.png", dot)])
ora("hostile-bomb.ora", '<image w="1" h="1"><stack>' + layer + "</stack></image>", [("data/a.png", bytes(16 << 20))])
ora("hostile-paths.ora", '<image w="1" h="1"><stack><layer name="up" src="../../etc/passwd"/><layer name="root" src="/etc/passwd"/><layer name="none" src="data/none.png"/>' + layer + "</stack></image>", [("data/a.png", dot)])
# As other programs write: nested stacks with offsets, fractions, an unknown mode.
ora("foreign.ora", '<?xml version="1.0"?><image version="0.0.5" w="8" h="6" xres="300" yres="300"><stack><stack name="G" x="10" y="1" opacity="0.5" isolation="auto">'
    '<layer name="in &amp; out" src="data/a.png" x="5" y="5" composite-op="svg:add" visibility="hidden" edit-locked="true"/></stack>'
    '<layer name="below" src="data/a.png" x="-1.4" composite-op="krita:dissolve" selected="true"/></stack></image>', [("data/a.png", dot)])

(OUT / "expected.json").write_text(json.dumps(EXPECTED, indent=1) + "\n")
print(sum(path.stat().st_size for path in OUT.iterdir()) // 1024, "kB in", len(list(OUT.iterdir())), "files")
