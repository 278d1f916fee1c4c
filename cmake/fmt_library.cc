// fmt 9 as one object file: what its headers only declare unless FMT_HEADER_ONLY is set. See fmt.cmake.
#include <fmt/format-inl.h>

#include <locale>

namespace fmt {
namespace detail {

template dragonbox::decimal_fp<float> dragonbox::to_decimal(float) noexcept;
template dragonbox::decimal_fp<double> dragonbox::to_decimal(double) noexcept;
template thousands_sep_result<char> thousands_sep_impl(locale_ref);
template char decimal_point_impl(locale_ref);
template std::locale locale_ref::get<std::locale>() const;

}  // namespace detail
}  // namespace fmt
