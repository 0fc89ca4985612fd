// How an image file becomes the student's input, with the pixels that the training machine saw.
//
// Resampling is Pillow's: each pass sums up pixels with weights of 22 bits and rounds to 8 bits.
// OpenCV's and stb's own resize give other pixels, and the student then gives other answers.
//
// Define STB_IMAGE_IMPLEMENTATION in one file before this one is included. With WITH_TURBOJPEG, JPEG
// files are decoded by libjpeg-turbo, as Pillow does it; stb_image's pixels differ by some levels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#if __has_include(<stb/stb_image.h>)
#include <stb/stb_image.h>  // Debian's libstb-dev
#else
#include <stb_image.h>
#endif

#ifdef WITH_TURBOJPEG
#include <turbojpeg.h>
#endif

// What stb_image does not read, such as WebP and HEIC.
struct Unreadable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Image {
    int width = 0, height = 0;
    std::vector<std::uint8_t> rgb;  // [height, width, 3]
    Image(int width, int height)
        : width(width), height(height), rgb(std::size_t(width) * height * 3) {}
    std::uint8_t* at(int x, int y) { return &rgb[(std::size_t(y) * width + x) * 3]; }
    const std::uint8_t* at(int x, int y) const { return &rgb[(std::size_t(y) * width + x) * 3]; }
};

// `preprocess` of bundle.json.
struct Preprocess {
    int size_px = 0, resize_px = 0;
    bool squash = false;
    std::string interpolation;
    std::vector<double> mean, std;
};

// --- read -----------------------------------------------------------------------------------

inline std::vector<std::uint8_t> bytes_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + ": cannot be read");
    return {std::istreambuf_iterator<char>(file), {}};
}

// The orientation in the EXIF data of a JPEG, 1 to 8.
inline int orientation_of(const std::vector<std::uint8_t>& file) {
    const auto at = [&](std::size_t n) -> std::size_t { return n < file.size() ? file[n] : 0; };
    if (at(0) != 0xFF || at(1) != 0xD8) return 1;
    for (std::size_t segment = 2; at(segment) == 0xFF && at(segment + 1) != 0xDA;) {
        const std::size_t data = segment + 4, tiff = data + 6;
        const bool is_exif = data + 6 <= file.size() && std::equal(&file[data], &file[data] + 6, "Exif\0");
        if (at(segment + 1) == 0xE1 && is_exif) {
            const bool little = at(tiff) == 'I';
            const auto number = [&](std::size_t from, int bytes) {
                std::size_t value = 0;
                for (int n = 0; n < bytes; ++n)
                    value = value << 8 | at(from + (little ? bytes - 1 - n : n));
                return value;
            };
            const std::size_t entries = tiff + number(tiff + 4, 4);
            for (std::size_t n = 0; n < number(entries, 2); ++n) {
                const std::size_t entry = entries + 2 + 12 * n;
                if (number(entry, 2) != 0x0112) continue;
                const std::size_t value = number(entry + 8, 2);
                return value >= 1 && value <= 8 ? int(value) : 1;
            }
        }
        segment += 2 + (at(segment + 2) << 8 | at(segment + 3));
    }
    return 1;
}

inline Image turned(const Image& image, int orientation) {
    const bool swaps = orientation >= 5;
    const bool flips_x = orientation == 2 || orientation == 3 || orientation >= 7;
    const bool flips_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    Image out(swaps ? image.height : image.width, swaps ? image.width : image.height);
    for (int y = 0; y < out.height; ++y)
        for (int x = 0; x < out.width; ++x) {
            const int from_x = swaps ? y : x, from_y = swaps ? x : y;
            std::copy_n(image.at(flips_x ? image.width - 1 - from_x : from_x,
                                 flips_y ? image.height - 1 - from_y : from_y), 3, out.at(x, y));
        }
    return out;
}

#ifdef WITH_TURBOJPEG
// A JPEG; empty if it is none, or none in grey or YCbCr.
inline Image jpeg(const std::vector<std::uint8_t>& file) {
    int width = 0, height = 0, sampling = 0, colours = 0;
    Image image(0, 0);
    const tjhandle turbo = tjInitDecompress();
    if (!tjDecompressHeader3(turbo, file.data(), file.size(), &width, &height, &sampling, &colours)) {
        image = Image(width, height);
        if (tjDecompress2(turbo, file.data(), file.size(), image.rgb.data(), width, 0, height, TJPF_RGB, 0))
            image = Image(0, 0);
    }
    tjDestroy(turbo);
    return image;
}
#else
inline Image jpeg(const std::vector<std::uint8_t>&) { return Image(0, 0); }
#endif

// Transparency is laid on white.
inline Image other_kind(const std::vector<std::uint8_t>& file, const std::string& path) {
    int width = 0, height = 0, channels = 0;
    std::uint8_t* rgba =
        stbi_load_from_memory(file.data(), int(file.size()), &width, &height, &channels, 4);
    if (!rgba) throw Unreadable(path + ": " + stbi_failure_reason());
    Image image(width, height);
    for (std::size_t pixel = 0; pixel < std::size_t(width) * height; ++pixel) {
        const int alpha = rgba[4 * pixel + 3];
        for (int c = 0; c < 3; ++c)
            image.rgb[3 * pixel + c] =
                std::uint8_t((2 * (rgba[4 * pixel + c] * alpha + 255 * (255 - alpha)) + 255) / 510);
    }
    stbi_image_free(rgba);
    return image;
}

// The image in a file, upright.
inline Image read_image(const std::string& path) {
    const std::vector<std::uint8_t> file = bytes_of(path);
    Image image = jpeg(file);
    if (!image.width) image = other_kind(file, path);
    const int orientation = orientation_of(file);
    return orientation == 1 ? image : turned(image, orientation);
}

// --- resize ---------------------------------------------------------------------------------

struct Filter {
    double reach;  // in pixels of the smaller image
    double (*weight)(double);
};

const double PI = 3.14159265358979323846;

inline double sinc(double x) { return x == 0 ? 1 : std::sin(x * PI) / (x * PI); }

inline Filter filter_of(const std::string& name) {
    if (name == "box") return {0.5, [](double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }};
    if (name == "bilinear") return {1, [](double x) { return std::max(0.0, 1 - std::abs(x)); }};
    if (name == "hamming")
        return {1, [](double x) {
            return std::abs(x) >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * std::cos(x * PI));
        }};
    if (name == "bicubic")
        return {2, [](double x) {
            x = std::abs(x);
            if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
            return x < 2 ? ((x - 5) * x + 8) * x * -0.5 + 2 : 0.0;
        }};
    if (name == "lanczos")
        return {3, [](double x) { return std::abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0.0; }};
    throw std::runtime_error("interpolation " + name + ": not known");
}

// The image `to` pixels wide (`wide`) or high; its other side stays as it is.
inline Image resized(const Image& image, int to, bool wide, const std::string& interpolation) {
    const int from = wide ? image.width : image.height;
    if (from == to) return image;
    Image out(wide ? to : image.width, wide ? image.height : to);
    const int others = wide ? image.height : image.width;
    const double scale = double(from) / to;
    double nearest = scale * 0.5;
    for (int n = 0; n < to; ++n, nearest += scale) {
        int first = std::min(int(nearest), from - 1);
        std::vector<double> weights{1.0};
        if (interpolation != "nearest") {
            const Filter filter = filter_of(interpolation);
            const double wider = std::max(scale, 1.0), centre = (n + 0.5) * scale;
            const double reach = filter.reach * wider;
            first = std::max(0, int(centre - reach + 0.5));
            weights.resize(std::min(from, int(centre + reach + 0.5)) - first);
            double sum = 0;
            for (std::size_t k = 0; k < weights.size(); ++k)
                sum += weights[k] = filter.weight((first + int(k) - centre + 0.5) / wider);
            for (double& weight : weights) weight /= sum;
        }
        std::vector<int> whole;
        for (const double weight : weights) whole.push_back(int(std::round(weight * (1 << 22))));
        for (int other = 0; other < others; ++other)
            for (int c = 0; c < 3; ++c) {
                int sum = 1 << 21;
                for (std::size_t k = 0; k < whole.size(); ++k) {
                    const int at = first + int(k);
                    sum += whole[k] * (wide ? image.at(at, other) : image.at(other, at))[c];
                }
                (wide ? out.at(n, other) : out.at(other, n))[c] =
                    std::uint8_t(std::clamp(sum >> 22, 0, 255));
            }
    }
    return out;
}

// Resized and cropped, not yet normalised: [size_px, size_px, 3].
inline Image prepared(const Image& image, const Preprocess& how) {
    const int shorter = std::min(image.width, image.height);
    const auto side = [&](int length) {
        return how.squash ? how.resize_px : int(double(how.resize_px) * length / shorter);
    };
    const Image across = resized(image, side(image.width), true, how.interpolation);
    const Image whole = resized(across, side(image.height), false, how.interpolation);
    const int left = int(std::nearbyint((whole.width - how.size_px) / 2.0));  // halves to even
    const int top = int(std::nearbyint((whole.height - how.size_px) / 2.0));
    Image out(how.size_px, how.size_px);
    for (int y = 0; y < how.size_px; ++y)
        std::copy_n(whole.at(left, top + y), how.size_px * 3, out.at(0, y));
    return out;
}

// The student's input: [3, size_px, size_px], plane by plane.
inline std::vector<float> normalised(const Image& pixels, const Preprocess& how) {
    const std::size_t plane = std::size_t(pixels.width) * pixels.height;
    std::vector<float> out(3 * plane);
    for (int c = 0; c < 3; ++c) {
        const float scale = float(1 / (255 * how.std[c])), shift = float(-how.mean[c] / how.std[c]);
        for (std::size_t n = 0; n < plane; ++n)
            out[c * plane + n] = float(pixels.rgb[3 * n + c]) * scale + shift;
    }
    return out;
}
