// The whole of Samovar's C++ interface.
#pragma once

#include <samovar/async.h>
#include <samovar/callback.h>
#include <samovar/config.h>
#include <samovar/convert.h>
#include <samovar/decoder.h>
#include <samovar/encoder.h>
#include <samovar/error.h>
#include <samovar/events.h>
#include <samovar/host.h>
#include <samovar/inspect.h>
#include <samovar/loan.h>
#include <samovar/method.h>
#include <samovar/options.h>
#include <samovar/payload.h>
#include <samovar/pool.h>
#include <samovar/reply.h>
#include <samovar/request.h>
#include <samovar/stats.h>
#include <samovar/stream.h>
#include <samovar/tensor.h>
#include <samovar/tensor_types.h>
#include <samovar/value.h>
