// Answer the golden images of this bundle and compare with the golden answers.
//
//     reproduce BUNDLE
//
// Exit code 0: reproduced, 1: a difference is above its tolerance, 2: a file cannot be read.
// README.md beside this file says how to build it. To be read and copied.
#define STB_IMAGE_IMPLEMENTATION
#include "preprocess.hpp"

#include <onnxruntime_c_api.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

using nlohmann::json;

const std::map<std::string, double> LOWEST_COSINE = {{"fp32", 0.999}, {"fp16", 0.999}, {"int8", 0.8}};
const int MOST_LEVELS = 4;

// --- the bundle -----------------------------------------------------------------------------

template <typename Bytes> json parse(const Bytes& bytes, const std::string& path) {
    const json found = json::parse(bytes, nullptr, false);
    if (found.is_discarded()) throw std::runtime_error(path + ": damaged");
    return found;
}

json read_json(const std::string& path) { return parse(bytes_of(path), path); }

Preprocess read_preprocess(const json& about) {
    const json& how = about.at("preprocess");
    Preprocess found;
    found.size_px = how.at("size_px");
    found.resize_px = how.at("resize_px");
    found.squash = how.at("crop_mode") == "squash";
    found.interpolation = how.at("interpolation");
    found.mean = how.at("mean").get<std::vector<double>>();
    found.std = how.at("std").get<std::vector<double>>();
    return found;
}

// The recommended ONNX file, else the first one.
json choose_file(const json& about) {
    json chosen;
    for (const json& each : about.at("artifacts")) {
        const std::string name = each.at("file");
        if (std::filesystem::path(name).extension() != ".onnx") continue;
        if (chosen.is_null() || each.at("stage") == about.value("recommended", json())) chosen = each;
    }
    if (chosen.is_null()) throw std::runtime_error("bundle.json: no ONNX file");
    return chosen;
}

// A .safetensors file: the length of its header, the header in JSON, the arrays.
struct Arrays {
    std::vector<std::uint8_t> file;
    json header;
    std::size_t start = 0;

    explicit Arrays(const std::string& path) : file(bytes_of(path)) {
        std::uint64_t length = 0;
        for (int n = 7; n >= 0 && file.size() > 8; --n) length = length << 8 | file[n];
        if (!length || length > file.size() - 8) throw std::runtime_error(path + ": damaged");
        start = 8 + length;
        header = parse(std::vector<std::uint8_t>(&file[8], &file[0] + start), path);
    }
    std::size_t rows(const std::string& name) const {
        return header.contains(name) ? header[name].at("shape").at(0).get<std::size_t>() : 0;
    }
    template <typename T> std::vector<T> row(const std::string& name, std::size_t number) const {
        const std::vector<std::size_t> ends = header.at(name).at("data_offsets");
        const std::size_t bytes = (ends.at(1) - ends.at(0)) / rows(name);
        if (start + ends.at(1) > file.size()) throw std::runtime_error(name + ": damaged");
        std::vector<T> found(bytes / sizeof(T));
        std::memcpy(found.data(), &file[start + ends[0] + number * bytes], bytes);
        return found;
    }
};

// --- the student ----------------------------------------------------------------------------

const OrtApi* const ORT = OrtGetApiBase()->GetApi(ORT_API_VERSION);

void check(OrtStatus* status) {
    if (!status) return;
    const std::string why = ORT->GetErrorMessage(status);
    ORT->ReleaseStatus(status);
    throw std::runtime_error(why);
}

// One ONNX file in ONNX Runtime, on the CPU.
class Student {
    OrtEnv* env = nullptr;
    OrtSessionOptions* options = nullptr;
    OrtSession* session = nullptr;
    OrtMemoryInfo* memory = nullptr;
    std::string input;

  public:
    explicit Student(const std::filesystem::path& path) {
        if (!ORT) throw std::runtime_error("this ONNX Runtime is older than the headers of this program");
        check(ORT->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "student", &env));
        check(ORT->CreateSessionOptions(&options));
        check(ORT->CreateSession(env, path.c_str(), options, &session));
        check(ORT->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
        OrtAllocator* allocator = nullptr;
        char* name = nullptr;
        check(ORT->GetAllocatorWithDefaultOptions(&allocator));
        check(ORT->SessionGetInputName(session, 0, allocator, &name));
        input = name;
        check(ORT->AllocatorFree(allocator, name));
    }
    Student(const Student&) = delete;
    ~Student() {
        ORT->ReleaseMemoryInfo(memory);
        ORT->ReleaseSession(session);
        ORT->ReleaseSessionOptions(options);
        ORT->ReleaseEnv(env);
    }

    // The embedding of one image: float [3, S, S] normalised, or pixels [S, S, 3].
    template <typename T> std::vector<float> embedding(std::vector<T> image, std::int64_t side) const {
        const bool pixels = sizeof(T) == 1;
        const std::vector<std::int64_t> shape =
            pixels ? std::vector<std::int64_t>{1, side, side, 3} : std::vector<std::int64_t>{1, 3, side, side};
        const ONNXTensorElementDataType type =
            pixels ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
        OrtValue *taken = nullptr, *answer = nullptr;
        check(ORT->CreateTensorWithDataAsOrtValue(memory, image.data(), image.size() * sizeof(T),
                                                  shape.data(), shape.size(), type, &taken));
        const char *in = input.c_str(), *out = "embedding";
        OrtStatus* status = ORT->Run(session, nullptr, &in, &taken, 1, &out, 1, &answer);
        ORT->ReleaseValue(taken);
        check(status);
        float* values = nullptr;
        OrtTensorTypeAndShapeInfo* info = nullptr;
        std::size_t count = 0;
        check(ORT->GetTensorMutableData(answer, reinterpret_cast<void**>(&values)));
        check(ORT->GetTensorTypeAndShape(answer, &info));
        check(ORT->GetTensorShapeElementCount(info, &count));
        std::vector<float> found(values, values + count);
        ORT->ReleaseTensorTypeAndShapeInfo(info);
        ORT->ReleaseValue(answer);
        return found;
    }
};

// --- compare --------------------------------------------------------------------------------

struct Largest {
    int levels = 0;
    double difference = 0, cosine = 1;  // the lowest cosine

    void add(const std::vector<float>& got, const std::vector<float>& wanted) {
        if (got.size() != wanted.size()) throw std::runtime_error("the embedding has another width");
        double product = 0, a = 0, b = 0;
        for (std::size_t n = 0; n < got.size(); ++n) {
            const double apart = std::abs(double(got[n]) - wanted[n]);
            if (!(apart <= difference)) difference = apart;  // also where it is no number
            product += double(got[n]) * wanted[n];
            a += double(got[n]) * got[n];
            b += double(wanted[n]) * wanted[n];
        }
        const double found = product / std::sqrt(a * b);
        if (!(found >= cosine)) cosine = std::isfinite(found) ? found : -1;
    }
    void add(const std::vector<std::uint8_t>& got, const std::vector<std::uint8_t>& wanted) {
        if (got.size() != wanted.size()) throw std::runtime_error("the pixels have another size");
        for (std::size_t n = 0; n < got.size(); ++n)
            levels = std::max(levels, std::abs(int(got[n]) - int(wanted[n])));
    }
};

int run(const std::string& bundle) {
    const json about = read_json(bundle + "/bundle.json");
    const std::vector<std::string> names = read_json(bundle + "/golden/golden.json").at("images");
    const Arrays golden(bundle + "/golden/golden.safetensors");
    const Preprocess how = read_preprocess(about);
    const json file = choose_file(about);
    const bool takes_pixels = about.value("input", "float32") == "uint8";
    const Student student(bundle + "/" + file.at("file").get<std::string>());

    Largest found;
    std::size_t compared = 0, with_pixels = 0;
    for (std::size_t n = 0; n < names.size(); ++n) {
        const std::string path = bundle + "/golden/" + names[n];
        try {
            const Image pixels = prepared(read_image(path), how);
            found.add(takes_pixels ? student.embedding(pixels.rgb, how.size_px)
                                   : student.embedding(normalised(pixels, how), how.size_px),
                      golden.row<float>("student_embedding", n));
            ++compared;
            if (n >= golden.rows("pixels")) continue;
            found.add(pixels.rgb, golden.row<std::uint8_t>("pixels", n));
            ++with_pixels;
        } catch (const Unreadable& error) {
            std::printf("left out: %s\n", error.what());
        }
    }
    if (!compared) throw std::runtime_error("no golden image could be read");

    const double least = LOWEST_COSINE.at(file.at("precision"));
    std::printf("%s (%s): %zu images\n", file.at("file").get<std::string>().c_str(),
                file.at("precision").get<std::string>().c_str(), compared);
    std::printf("pixels: %d of 255 levels apart at most (%zu images; tolerance %d)\n", found.levels,
                with_pixels, MOST_LEVELS);
    std::printf("embedding: %.2e apart at most; lowest cosine %.6f (tolerance %g)\n", found.difference,
                found.cosine, least);
    const bool reproduced = found.levels <= MOST_LEVELS && found.cosine >= least;
    std::puts(reproduced ? "reproduced" : "NOT reproduced");
    return reproduced ? 0 : 1;
}

int main(int count, char** words) {
    try {
        if (count != 2) throw std::runtime_error("usage: reproduce BUNDLE");
        return run(words[1]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 2;
    }
}
