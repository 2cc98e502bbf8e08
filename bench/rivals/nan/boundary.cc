// The rival of the boundary benchmark: the same crossings between JavaScript and C++ through nan, which calls V8 directly and is compiled
// anew for each version of Node, where Node-API is one stable layer above it. Each does what the call of the addon does beside its own
// work: reads and checks the same arguments, copies the same bytes, makes the same object, settles a promise from the event loop.
#include <nan.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

namespace {

class Value : public Nan::ObjectWrap {
 public:
  static NAN_MODULE_INIT(Init) {
    v8::Local<v8::FunctionTemplate> type = Nan::New<v8::FunctionTemplate>(New);
    type->InstanceTemplate()->SetInternalFieldCount(1);
    Nan::SetAccessor(type->InstanceTemplate(), Nan::New("version").ToLocalChecked(), Version);
    Nan::SetPrototypeMethod(type, "assign", Assign);
    Nan::SetPrototypeMethod(type, "take", Take);
    Nan::Set(target, Nan::New("Value").ToLocalChecked(), Nan::GetFunction(type).ToLocalChecked());
  }

 private:
  Value() {
    wake_.data = this;
    uv_async_init(Nan::GetCurrentEventLoop(), &wake_, OnWake);
    uv_unref(reinterpret_cast<uv_handle_t*>(&wake_));
  }

  static NAN_METHOD(New) {
    (new Value())->Wrap(info.This());
    info.GetReturnValue().Set(info.This());
  }

  static NAN_GETTER(Version) {
    auto* self = Unwrap<Value>(info.This());
    const std::lock_guard<std::mutex> lock(self->mutex_);
    info.GetReturnValue().Set(static_cast<double>(self->version_));
  }

  // assign(value: Float32Array, shape): keeps a copy.
  static NAN_METHOD(Assign) {
    auto* self = Unwrap<Value>(info.This());
    if (!info[0]->IsFloat32Array() || !info[1]->IsArray()) return Nan::ThrowTypeError("expected (value, shape)");
    std::vector<std::int64_t> shape;
    const auto dims = info[1].As<v8::Array>();
    for (std::uint32_t i = 0; i < dims->Length(); ++i) {
      shape.push_back(static_cast<std::int64_t>(Nan::To<double>(Nan::Get(dims, i).ToLocalChecked()).FromJust()));
    }
    const Nan::TypedArrayContents<float> value(info[0]);
    const std::lock_guard<std::mutex> lock(self->mutex_);
    self->value_.assign(*value, *value + value.length());
    self->shape_ = std::move(shape);
    ++self->version_;
  }

  // take() -> a promise of the value, settled by the event loop.
  static NAN_METHOD(Take) {
    auto* self = Unwrap<Value>(info.This());
    const auto resolver = v8::Promise::Resolver::New(Nan::GetCurrentContext()).ToLocalChecked();
    if (self->pending_++ == 0) uv_ref(reinterpret_cast<uv_handle_t*>(&self->wake_));
    {
      const std::lock_guard<std::mutex> lock(self->mutex_);
      self->letters_.push_back({Nan::Global<v8::Promise::Resolver>(resolver), self->value_});
    }
    uv_async_send(&self->wake_);
    info.GetReturnValue().Set(resolver->GetPromise());
  }

  struct Letter {
    Nan::Global<v8::Promise::Resolver> resolver;
    std::vector<float> value;
  };

  static void OnWake(uv_async_t* wake) {
    auto* self = static_cast<Value*>(wake->data);
    std::deque<Letter> letters;
    {
      const std::lock_guard<std::mutex> lock(self->mutex_);
      letters.swap(self->letters_);
    }
    const Nan::HandleScope scope;
    v8::Isolate* isolate = v8::Isolate::GetCurrent();
    // Runs what waits for the promises when it ends.
    const node::CallbackScope callbacks(isolate, Nan::New<v8::Object>(), node::async_context{0, 0});
    for (const Letter& letter : letters) {
      const Nan::HandleScope inner;
      const std::size_t bytes = letter.value.size() * sizeof(float);
      const auto buffer = v8::ArrayBuffer::New(isolate, bytes);
      std::memcpy(buffer->GetBackingStore()->Data(), letter.value.data(), bytes);
      const v8::Local<v8::Object> taken = Nan::New<v8::Object>();
      const v8::Local<v8::Array> shape = Nan::New<v8::Array>(1);
      Nan::Set(shape, 0, Nan::New(static_cast<double>(letter.value.size())));
      Nan::Set(taken, Nan::New("dtype").ToLocalChecked(), Nan::New("float32").ToLocalChecked());
      Nan::Set(taken, Nan::New("shape").ToLocalChecked(), shape);
      Nan::Set(taken, Nan::New("data").ToLocalChecked(), v8::Float32Array::New(buffer, 0, letter.value.size()));
      Nan::New(letter.resolver)->Resolve(Nan::GetCurrentContext(), taken).Check();
      if (--self->pending_ == 0) uv_unref(reinterpret_cast<uv_handle_t*>(&self->wake_));
    }
  }

  std::mutex mutex_;
  std::int64_t version_ = 0;
  std::vector<float> value_;
  std::vector<std::int64_t> shape_;
  std::deque<Letter> letters_;
  // Of the environment's thread.
  uv_async_t wake_;
  std::size_t pending_ = 0;
};

}  // namespace

NODE_MODULE(boundary, Value::Init)
