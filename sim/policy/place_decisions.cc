// Where a complete record lives.
#include "sim/policy/decision_table.h"

namespace alchemist {
namespace {

class PlaceStay final : public PlaceDecision {
 public:
  PlaceChoice on_recorded(const PlaceView&) override { return PlaceChoice::kStay; }
  bool keep_after_copy(const PlaceView&) override { return true; }
  bool uses_host() const override { return false; }
  bool copy_out_under_pressure(const PlaceView&) override { return false; }
};

class PlaceUnderPressure final : public PlaceDecision {
 public:
  PlaceChoice on_recorded(const PlaceView&) override { return PlaceChoice::kStay; }
  bool keep_after_copy(const PlaceView&) override { return true; }
  bool uses_host() const override { return true; }
  bool copy_out_under_pressure(const PlaceView&) override { return true; }
};

constexpr double kTooFarBehind_s = 5;  // link

// A second copy before it is needed, unless the link is so far behind that the copy would come too late to help.
class PlaceEager final : public PlaceDecision {
 public:
  PlaceChoice on_recorded(const PlaceView& view) override {
    return view.link_backlog_s < kTooFarBehind_s ? PlaceChoice::kCopyNow : PlaceChoice::kStay;
  }
  bool uses_host() const override { return true; }
  // A token's record is as large as the keys and values of 9 to 23 tokens, and its reload hides behind backward: it is
  // worth less than the cached prefixes that it would displace.
  bool keep_after_copy(const PlaceView& view) override { return !view.missed; }
  // In a burst memory comes free at once: by host copies that exist, and otherwise by dropping.
  bool copy_out_under_pressure(const PlaceView&) override { return false; }
};

// One copy of each record: on the GPU as long as there is room to stay, else on the host. Memory for twice as many.
class PlaceTiered final : public PlaceDecision {
 public:
  PlaceChoice on_recorded(const PlaceView& view) override {
    return view.room > Bytes() || view.link_backlog_s > kTooFarBehind_s ? PlaceChoice::kStay : PlaceChoice::kCopyNow;
  }
  bool keep_after_copy(const PlaceView&) override { return false; }
  bool uses_host() const override { return true; }
  // Serving does not wait for a copy: records make place before it has to ask, as far as that can be foreseen.
  bool copy_out_under_pressure(const PlaceView&) override { return false; }
};

constexpr DecisionChoice<PlaceDecision> kPlaceDecisions[] = {
    {{"none", "there are no records"}, no_decision<PlaceDecision>},
    {{"stay", "on the GPU; dropped under pressure"}, make_choice<PlaceDecision, PlaceStay>},
    {{"pressure", "on the GPU; copied to the host under pressure, and serving waits for the copy"},
     make_choice<PlaceDecision, PlaceUnderPressure>},
    {{"eager", "copied to the host in the background as soon as complete; freed at once under pressure"},
     make_choice<PlaceDecision, PlaceEager>},
    {{"tiered", "on the GPU while there is room, else copied to the host as soon as complete; never on both"},
     make_choice<PlaceDecision, PlaceTiered>},
};

}  // namespace

const std::vector<DecisionName>& place_decisions() {
  static const std::vector<DecisionName> names = names_of<PlaceDecision>(kPlaceDecisions);
  return names;
}

std::unique_ptr<PlaceDecision> make_place_decision(std::string_view name) {
  return make_named<PlaceDecision>(kPlaceDecisions, name);
}

}  // namespace alchemist
